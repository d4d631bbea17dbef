#!/usr/bin/env python3
"""Times beam search in quell against `generate` of Hugging Face transformers.

Both summarize the same articles with the same settings on the same machine in the same run, in
turn. Hugging Face gets batches of like lengths, as quell makes them. Only the writing counts:
neither loading nor tokenizing (quell's time has the detokenizing and ROUGE in it).

Needs: pip install torch==2.11.0 transformers
Example: huggingface_generation.py --quell build/quell --model models/tiny-bart --data xsum.jsonl
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

EXPERIMENT = """
name: comparison
threads: {threads}
model: {{path: {model}}}
task:
  type: summarization
  dev_file: {data}
  dev_rows: 0-{last}
  max_source_length: {source}
  max_length: {length}
  num_beams: {beams}
  batch_size: {batch}
pipeline: []
stages: [float]
"""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quell", default="build/quell")
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--data", required=True, type=pathlib.Path, help="JSON lines with `document`")
    parser.add_argument("--articles", type=int, default=200)
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=62)
    parser.add_argument("--max-source-length", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def read_articles(arguments):
    articles = []
    with open(arguments.data, encoding="utf-8") as file:
        for line in file:
            if len(articles) < arguments.articles:
                articles.append(json.loads(line)["document"])
    return articles


def run_hugging_face(model, tokenizer, articles, arguments):
    """Seconds and ids of every article, without padding."""
    lengths = [len(ids) for ids in tokenizer(articles)["input_ids"]]
    order = sorted(range(len(articles)), key=lambda i: -min(lengths[i], arguments.max_source_length))
    batches = []
    for start in range(0, len(order), arguments.batch_size):
        indices = order[start:start + arguments.batch_size]
        batches.append((indices, tokenizer([articles[i] for i in indices], padding="longest",
                                           truncation=True, return_tensors="pt",
                                           max_length=arguments.max_source_length)))
    ids = [None] * len(articles)
    start = time.perf_counter()
    with torch.inference_mode():
        for indices, batch in batches:
            written = model.generate(input_ids=batch["input_ids"],
                                     attention_mask=batch["attention_mask"],
                                     num_beams=arguments.beams, do_sample=False,
                                     max_length=arguments.max_length, min_length=0)
            for row, i in enumerate(indices):
                ids[i] = [t for t in written[row].tolist() if t != tokenizer.pad_token_id]
    return time.perf_counter() - start, ids


def run_quell(arguments, threads):
    """Seconds of the evaluation, mean length, and the texts."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "experiment.yaml").write_text(EXPERIMENT.format(
            threads=threads, model=arguments.model.absolute(), data=arguments.data.absolute(),
            last=arguments.articles - 1, source=arguments.max_source_length,
            length=arguments.max_length, beams=arguments.beams, batch=arguments.batch_size))
        subprocess.run([arguments.quell, "run", folder / "experiment.yaml", "--output",
                        folder / "run"], check=True, capture_output=True)
        seconds = json.loads((folder / "run/environment.json").read_text())["seconds"]["float"]
        metrics = json.loads((folder / "run/metrics.json").read_text())["stages"]["float"]
        lines = (folder / "run/predictions.jsonl").read_text().splitlines()
        return seconds, metrics["gen_len"], [json.loads(line)["texts"]["float"] for line in lines]


def main():
    arguments = parse_arguments()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = AutoModelForSeq2SeqLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    articles = read_articles(arguments)
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        ratios = []
        for _ in range(arguments.rounds):
            quell_seconds, length, texts = run_quell(arguments, threads)
            hugging_face_seconds, ids = run_hugging_face(model, tokenizer, articles, arguments)
            tokens = sum(len(one) for one in ids)
            same = sum(text == tokenizer.decode(one, skip_special_tokens=True)
                       for text, one in zip(texts, ids))
            ratios.append(hugging_face_seconds / quell_seconds)
            print(f"{threads} thread(s): quell {length * len(texts) / quell_seconds:.0f} tokens/s, "
                  f"Hugging Face {tokens / hugging_face_seconds:.0f} tokens/s, "
                  f"ratio {ratios[-1]:.2f}, same text {same} of {len(texts)}")
        print(f"{threads} thread(s): median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
