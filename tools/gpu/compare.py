#!/usr/bin/env python3
"""Compares the runs NAME-cpu and NAME-cuda of a folder: metrics, predictions, outputs, seconds."""
import json
import pathlib
import sys


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(value):
    if isinstance(value, dict):
        for one in value.values():
            yield from numbers(one)
    elif isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, float):
        yield value


def main():
    folder = pathlib.Path(sys.argv[1])
    print(f"{'experiment':<12} {'rows':>6} {'differ':>7} {'largest':>10} {'seconds on cpu, gpu':>20}")
    for cpu in sorted(folder.glob("*-cpu")):
        gpu = cpu.with_name(cpu.name.replace("-cpu", "-cuda"))
        pairs = list(zip(lines(cpu / "predictions.jsonl"), lines(gpu / "predictions.jsonl")))
        differ = sum(a.get("prediction") != b.get("prediction") for a, b in pairs)
        largest = max((abs(x - y) for a, b in pairs for x, y in zip(numbers(a), numbers(b))),
                      default=0)
        seconds = [sum(json.loads((run / "environment.json").read_text())["seconds"].values())
                   for run in (cpu, gpu)]
        print(f"{cpu.name[:-4]:<12} {len(pairs):>6} {differ:>7} {largest:>10.2e} "
              f"{seconds[0]:>10.2f} {seconds[1]:>9.2f}")
    device = json.loads((gpu / "environment.json").read_text())["device"]
    print(f"on {device}")


if __name__ == "__main__":
    main()
