"""Loads exported folders of language models, and compares them with what quell computes.

    run_exported.py FOLDER EXPECTED.safetensors [FOLDER EXPECTED.safetensors ...]

EXPECTED may have `ids` int64 [tokens] and `logits` float32 [tokens, vocabulary], which transformers computes, too, in
float32; and for the format compressed-tensors, which it simulates, `MODULE.weight` float32 of the linears, which the
package of that name dequantizes. Prints JSON, an object for each: how many linears there are, how many of their values differ, whether
transformers has quantized these very linears, and by how much its logits are off.
"""

import json
import os
import pathlib
import sys

os.environ.update(TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1", TQDM_DISABLE="1")

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def scheme_of(module, config):
    """The group of a linear: one that names it, or the one of all linears."""
    groups = list(config.config_groups.values())
    named = [group for group in groups if module in group.targets]
    return (named or [group for group in groups if "Linear" in group.targets])[0]


def dequantized(folder, modules):
    """The weights of linears, by the package."""
    config = QuantizationConfig.model_validate(
        json.loads((folder / "config.json").read_text())["quantization_config"])
    tensors = load_file(folder / "model.safetensors")
    for module in modules:
        parts = {name.removeprefix(module + "."): tensor for name, tensor in tensors.items()
                 if name.startswith(module + ".")}
        scheme = scheme_of(module, config)
        compressor = BaseCompressor.get_value_from_registry(scheme.format)
        yield module, compressor.decompress(parts, scheme)["weight"]


def compared_logits(folder, modules, expected):
    """By how much the logits of transformers are off, and whether it has quantized the same modules."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    quantized = [name for name, module in model.named_modules()
                 if getattr(module, "quantization_scheme", None) is not None]
    with torch.no_grad():
        logits = model(expected["ids"][None]).logits[0]
    off = (logits - expected["logits"]).abs()
    return {
        "same_linears": sorted(quantized) == sorted(modules),
        "largest": off.max().item(),
        "rms": off.square().mean().sqrt().item(),
        "size": expected["logits"].square().mean().sqrt().item(),
    }


def compared(folder, expected):
    modules = [name.removesuffix(".weight") for name in expected if name.endswith(".weight")]
    found = {"linears": len(modules)}
    if modules:
        found["different"] = sum(int((weight != expected[module + ".weight"]).sum())
                                 for module, weight in dequantized(folder, modules))
    if "logits" in expected:
        found |= compared_logits(folder, modules, expected)
    return found


def main():
    torch.set_num_threads(1)
    pairs = zip(sys.argv[1::2], sys.argv[2::2])
    print(json.dumps([compared(pathlib.Path(folder), load_file(expected))
                      for folder, expected in pairs]))


main()
