#!/usr/bin/env python3
"""A small LLaMA with random weights and OPT's layout of start tokens: model/.

    python3 make_model.py ../../../../shared/goldens/tokenizers/tokenizers/bbpe/tokenizer.opt.json

Made with transformers 5.24.0 and torch 2.11.0. The numbers are large enough for predictions to differ.
"""
import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

FOLDER = Path(__file__).resolve().parent / "model"


def main() -> None:
    torch.manual_seed(20)
    config = LlamaConfig(
        vocab_size=6000, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, initializer_range=0.35,
        bos_token_id=2, eos_token_id=2, pad_token_id=1)
    LlamaForCausalLM(config).half().save_pretrained(FOLDER)
    (FOLDER / "generation_config.json").unlink(missing_ok=True)
    shutil.copy(sys.argv[1], FOLDER / "tokenizer.json")
    tokenizer = {
        "bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
        "model_max_length": 256, "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (FOLDER / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2) + "\n")


if __name__ == "__main__":
    main()
