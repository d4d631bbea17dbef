#!/usr/bin/env python3
"""Writes a LLaMA of any shape with random weights as a Hugging Face folder, to try what a size costs.

    tools/make_random_model.py FOLDER [--tokenizer FOLDER] [--hidden 4096] [--layers 32] ...

The defaults are the shape of LLaMA 7B: 13 GB in float16, a file per layer. Weights are normal with a
standard deviation of 0.02 and repeat with a period that divides no row; a few gammas of each norm are
large, as in trained models, so that activations have outliers. Needs nothing but Python.
"""

import argparse
import json
import pathlib
import random
import shutil
import struct

PERIOD = 1048573  # a prime
OUTLIERS = (3, 17, 42)  # features with large gammas


def normal_values(seed):
    draw = random.Random(seed)
    return struct.pack(f"<{PERIOD}e", *(draw.gauss(0, 0.02) for _ in range(PERIOD)))


def write_matrix(file, values, first, count):
    """`count` values from the place `first` of the period on, round and round."""
    start = first % PERIOD * 2
    left = count * 2
    while left > 0:
        part = values[start : start + left]
        file.write(part)
        left -= len(part)
        start = 0


def gammas(features):
    values = [1 + 8 * (i in OUTLIERS) for i in range(features)]
    return struct.pack(f"<{features}e", *values)


def write_shard(path, shapes, values):
    header, begin = {}, 0
    for name, shape in shapes.items():
        count = 1
        for size in shape:
            count *= size
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, begin + 2 * count]}
        begin += 2 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            if len(shape) == 1:
                file.write(gammas(shape[0]))
            else:
                write_matrix(file, values, random.Random(name).randrange(PERIOD), shape[0] * shape[1])
    return begin


def layer_shapes(index, hidden, width):
    layer = f"model.layers.{index}."
    shapes = {f"{layer}self_attn.{part}_proj.weight": [hidden, hidden] for part in "qkvo"}
    shapes |= {f"{layer}mlp.{part}_proj.weight": [width, hidden] for part in ("gate", "up")}
    shapes[f"{layer}mlp.down_proj.weight"] = [hidden, width]
    shapes |= {f"{layer}{norm}_layernorm.weight": [hidden] for norm in ("input", "post_attention")}
    return shapes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--tokenizer", type=pathlib.Path, help="folder with tokenizer files to copy")
    for name, default in (("hidden", 4096), ("layers", 32), ("heads", 32), ("width", 11008),
                          ("vocabulary", 32000), ("positions", 2048), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    of = parser.parse_args()
    if of.hidden % of.heads or min(of.hidden, of.layers, of.heads, of.width, of.vocabulary) < 1:
        parser.error("--heads must divide --hidden, and sizes be positive")
    if of.folder.exists() and any(of.folder.iterdir()):
        parser.error(f"{of.folder} is not empty")
    of.folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16",
              "hidden_size": of.hidden, "intermediate_size": of.width, "hidden_act": "silu",
              "num_hidden_layers": of.layers, "num_attention_heads": of.heads,
              "num_key_value_heads": of.heads, "vocab_size": of.vocabulary, "rms_norm_eps": 1e-6,
              "max_position_embeddings": of.positions, "bos_token_id": 1, "eos_token_id": 2,
              "tie_word_embeddings": False}
    (of.folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for file in sorted(of.tokenizer.glob("token*")) if of.tokenizer else []:
        shutil.copy(file, of.folder)
    shards = [layer_shapes(index, of.hidden, of.width) for index in range(of.layers)]
    shards.append({"model.embed_tokens.weight": [of.vocabulary, of.hidden],
                   "model.norm.weight": [of.hidden], "lm_head.weight": [of.vocabulary, of.hidden]})
    values, places, total = normal_values(of.seed), {}, 0
    for index, shapes in enumerate(shards):
        name = f"model-{index + 1:05}-of-{len(shards):05}.safetensors"
        total += write_shard(of.folder / name, shapes, values)
        places |= dict.fromkeys(shapes, name)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (of.folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    main()
