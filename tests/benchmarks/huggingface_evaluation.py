#!/usr/bin/env python3
"""Times the evaluation of a quantized model in quell against the float model in Hugging Face.

Both evaluate the same dev set on the same machine in the same run, in turn, so that a busy machine
slows both. Only the evaluation counts: neither loading nor tokenizing. Hugging Face runs three ways:
padded to 128 tokens as the published code does, padded to the longest sentence of each batch, and
sorted by length first.

Needs: pip install torch==2.11.0 transformers
Example: huggingface_evaluation.py --quell build/quell --model models/minilm-sst2 --data data/glue/SST-2
"""

import argparse
import csv
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

MAX_LENGTH = 128
BATCH_SIZE = 32

EXPERIMENT = """
name: comparison
threads: {threads}
model: {{path: {model}}}
task: {{type: glue, name: sst2, path: {data}, max_length: 128, batch_size: 32}}
calibration: {{samples: 64}}
quant:
  include: placements/outlier_suppression.yaml
  rules:
    - {{sites: "weight:*", bits: {bits}, symmetric: true, granularity: channel}}
    - {{sites: "activation:*", bits: {bits}, symmetric: false, observer: avg_minmax}}
stages: [float, quantized]
record: {{site_errors: false}}
"""


def read_dev(folder):
    with open(pathlib.Path(folder) / "dev.tsv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["sentence"] for row in rows], torch.tensor([int(row["label"]) for row in rows])


def make_batches(tokenizer, sentences, way):
    order = list(range(len(sentences)))
    if way == "sorted":
        lengths = [len(ids) for ids in tokenizer(sentences, truncation=True, max_length=MAX_LENGTH)["input_ids"]]
        order.sort(key=lambda i: lengths[i])
    padding = "max_length" if way == "padded to 128" else "longest"
    batches = []
    for start in range(0, len(order), BATCH_SIZE):
        indices = order[start : start + BATCH_SIZE]
        encoded = tokenizer([sentences[i] for i in indices], padding=padding, truncation=True,
                            max_length=MAX_LENGTH, return_tensors="pt")
        batches.append((indices, encoded))
    return batches


def time_hugging_face(model, batches, labels):
    predicted = torch.empty_like(labels)
    start = time.perf_counter()
    with torch.inference_mode():
        for indices, encoded in batches:
            predicted[indices] = model(**encoded).logits.argmax(-1)
    return time.perf_counter() - start, (predicted == labels).double().mean().item()


def time_quell(arguments, threads):
    with tempfile.TemporaryDirectory() as folder:
        experiment = pathlib.Path(folder) / "experiment.yaml"
        experiment.write_text(EXPERIMENT.format(threads=threads, bits=arguments.bits,
                                                model=pathlib.Path(arguments.model).absolute(),
                                                data=pathlib.Path(arguments.data).absolute()))
        output = pathlib.Path(folder) / "run"
        subprocess.run([arguments.quell, "run", experiment, "--output", output, "--quiet"], check=True,
                       stdout=subprocess.DEVNULL)
        seconds = json.loads((output / "environment.json").read_text())["seconds"]
        metrics = json.loads((output / "metrics.json").read_text())["stages"]
        return {stage: (seconds[stage], metrics[stage]["accuracy"]) for stage in ("float", "quantized")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quell", default="build/quell")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--data", required=True, help="folder with dev.tsv of SST-2")
    parser.add_argument("--bits", type=int, default=8)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = AutoModelForSequenceClassification.from_pretrained(arguments.model, dtype=torch.float32).eval()
    sentences, labels = read_dev(arguments.data)
    ways = ["padded to 128", "padded to longest", "sorted"]
    batches = {way: make_batches(tokenizer, sentences, way) for way in ways}

    for threads in arguments.threads:
        torch.set_num_threads(threads)
        seconds = {name: [] for name in ways + ["quell float", "quell quantized"]}
        accuracy = {}
        for _ in range(arguments.repeats):
            for stage, (value, metric) in time_quell(arguments, threads).items():
                seconds[f"quell {stage}"].append(value)
                accuracy[f"quell {stage}"] = metric
            for way in ways:
                value, accuracy[way] = time_hugging_face(model, batches[way], labels)
                seconds[way].append(value)
        print(f"\n{threads} thread(s), W{arguments.bits}A{arguments.bits}, {len(sentences)} sentences, "
              f"medians of {arguments.repeats} interleaved runs")
        print(f"{'':<34}{'accuracy':>9}{'seconds':>9}{'/ quell quantized':>19}")
        for name, values in seconds.items():
            ratios = [value / own for value, own in zip(values, seconds["quell quantized"])]
            label = name if name.startswith("quell") else f"Hugging Face float, {name}"
            print(f"{label:<34}{100 * accuracy[name]:>9.2f}{statistics.median(values):>9.2f}"
                  f"{statistics.median(ratios):>12.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
