"""Largest difference of the logits of two language models' folders in Hugging Face transformers, float32.

    python exported_logits.py FOLDER EXPORTED [IDS]

On a fixed pseudo-random sequence of 24 ids unless some are given, separated by commas. Tested with transformers 5.24.
"""
import sys

import torch
from transformers import AutoModelForCausalLM


def main() -> None:
    torch.set_num_threads(1)
    models = [AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
              for folder in sys.argv[1:3]]
    vocabulary = models[0].config.vocab_size
    ids = [int(one) for one in sys.argv[3].split(",")] if len(sys.argv) > 3 else [
        (7 * i * i + 13 * i + 5) % vocabulary for i in range(24)]
    with torch.no_grad():
        logits = [model(torch.tensor([ids])).logits for model in models]
    print(f"{(logits[0] - logits[1]).abs().max().item():.3g} of {logits[0].abs().max().item():.3g}")


main()
