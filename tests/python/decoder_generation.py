"""What Hugging Face transformers writes with the decoders of tests/data/models: generation.json in each folder.

    python decoder_generation.py TESTS_DATA_MODELS

transformers 5.24, float32, one prompt at a time.
"""
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

VARIANTS = ["llama", "llama3", "llama_dynamic", "opt", "opt_post_norm", "gpt2", "bloom_7_heads", "gpt_neox"]
SETTINGS = [
    {"max_new_tokens": 12},
    {"max_new_tokens": 10, "repetition_penalty": 1.3, "min_new_tokens": 6},
    {"max_new_tokens": 9, "num_beams": 4, "length_penalty": 0.7},
    {"max_new_tokens": 8, "num_beams": 3, "num_return_sequences": 3, "no_repeat_ngram_size": 2, "early_stopping": True},
    {"max_length": 14, "num_beams": 2, "length_penalty": -0.5, "encoder_no_repeat_ngram_size": 2},
]


def main() -> None:
    torch.set_num_threads(1)
    for name in VARIANTS:
        folder = Path(sys.argv[1]) / name
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        vocabulary = model.config.vocab_size
        generator = torch.Generator().manual_seed(5)
        prompts = [torch.randint(5, vocabulary, (length,), generator=generator).tolist() for length in (1, 4, 9, 4)]
        with torch.no_grad():  # an end that some of the texts meet
            end = model.generate(torch.tensor([prompts[2]]), generation_config=GenerationConfig(
                max_new_tokens=6, do_sample=False, pad_token_id=0))[0, -1].item()
        cases = []
        for settings in SETTINGS:
            texts = []
            for prompt in prompts:
                config = GenerationConfig(do_sample=False, eos_token_id=end, pad_token_id=1, **settings)
                with torch.no_grad():
                    texts.append(model.generate(torch.tensor([prompt]), generation_config=config).tolist())
            cases.append({"settings": settings, "texts": texts})
        out = {"prompts": prompts, "eos_token_id": end, "pad_token_id": 1, "cases": cases}
        (folder / "generation.json").write_text(json.dumps(out) + "\n")


main()
