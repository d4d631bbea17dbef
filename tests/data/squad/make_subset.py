#!/usr/bin/env python3
"""Cuts the goldens of SQuAD to some questions. Usage: make_subset.py GOLDENS_FOLDER"""
import json
import shutil
import struct
import sys
from pathlib import Path

# Long contexts, leading blanks (3), questions without an answer (36 to 47), "empty" (25, 36, 54) and
# "no answer" (15) as what the logits say.
KEPT = [0, 3, 8, 11, 15, 25, 29, 34, 36, 38, 44, 47, 54, 58]
WITH_NBEST = 4
HERE = Path(__file__).parent


def cut_json(source):
    everything = json.loads((source / "squad.json").read_text())
    examples = [everything["examples"][i] for i in KEPT]
    ids = [example["id"] for example in examples]

    def of_questions(values, kept):
        return {key: values[key] for key in kept if key in values}

    configs = {}
    for name, config in everything["configs"].items():
        configs[name] = {}
        for part, entries in config.items():
            configs[name][part] = {
                key: of_questions(values, ids[:WITH_NBEST] if key == "nbest" else ids)
                for key, values in entries.items()
                if key in ("predictions", "nbest", "score_diff", "per_example", "best_nonnull")
            }
    result = {"examples": examples, "configs": configs}
    (HERE / "squad.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


def cut_tensors(source):
    data = (source / "squad.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)

    def rows(name):
        begin, end = header[name]["data_offsets"]
        count = header[name]["shape"][0]
        size = (end - begin) // count
        first = 8 + length + begin
        return [data[first + i * size:first + (i + 1) * size] for i in range(count)]

    new_header, payload = {}, b""
    for name in sorted(header):
        if name.endswith("attention_mask"):
            continue
        prefix = name.split(".")[0]
        of_example = [struct.unpack("<i", row)[0] for row in rows(prefix + ".example_index")]
        kept = [row for row, example in zip(rows(name), of_example) if example in KEPT]
        if name.endswith("example_index"):
            kept = [struct.pack("<i", KEPT.index(struct.unpack("<i", row)[0])) for row in kept]
        block = b"".join(kept)
        new_header[name] = {
            "dtype": header[name]["dtype"],
            "shape": [len(kept)] + header[name]["shape"][1:],
            "data_offsets": [len(payload), len(payload) + len(block)],
        }
        payload += block
    text = json.dumps(new_header).encode()
    text += b" " * (-len(text) % 8)
    (HERE / "squad.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + payload)


goldens = Path(sys.argv[1])
cut_json(goldens)
cut_tensors(goldens)
shutil.copyfile(goldens / "squad_text_cases.json", HERE / "squad_text_cases.json")
