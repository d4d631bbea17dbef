#!/usr/bin/env python3
"""Runs methods x bit widths x seeds on several models and prints one Markdown table.

  tools/method_table.py --output runs/table --bits 8 6 4 --seeds 1 2 3 \\
    --models models/bert-cola=data/glue/CoLA:cola models/bert-rte=data/glue/RTE:rte

A cell is the main metric of the quantized model in percent: mean and standard deviation (n - 1)
over the seeds, which draw the calibration samples. Cells that are finished (metrics.json is there)
are not run again; give other settings another --output.
"""

import argparse
import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys
import typing

ROOT = pathlib.Path(__file__).resolve().parent.parent
METHOD_FILES = ROOT / "experiments/outlier_suppression"
METHODS = ["minmax", "mse", "quantile", "twc", "twc_fine", "twc_fine_gamma"]


class Model(typing.NamedTuple):
    path: str
    data: str
    task: str

    def label(self):
        return f"{pathlib.Path(self.path).resolve().name}-{self.task}"


class Cell(typing.NamedTuple):
    model: Model
    method: str
    bits: int  # 0: the float model
    seed: int

    def folder(self, output):
        name = f"{self.method}-w{self.bits}a{self.bits}-seed{self.seed}" if self.bits else "float"
        return output / self.model.label() / name


def parse_model(text):
    path, _, rest = text.partition("=")
    data, _, task = rest.rpartition(":")
    if not (path and data and task):
        raise argparse.ArgumentTypeError(f"expected MODEL=DATA:TASK, found {text}")
    return Model(path, data, task)


def parse_method(text):
    name, _, bits = text.partition(":")
    if not (METHOD_FILES / f"{name}.yaml").exists():
        raise argparse.ArgumentTypeError(f"no {METHOD_FILES / name}.yaml")
    return name, [int(width) for width in bits.split(",")] if bits else None


def parse_arguments():
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--models", type=parse_model, nargs="+", required=True,
                        metavar="MODEL=DATA:TASK")
    parser.add_argument("--methods", type=parse_method, nargs="+", metavar="NAME[:BITS,BITS]",
                        default=[(name, None) for name in METHODS],
                        help="files of experiments/outlier_suppression, some perhaps for some\n"
                             f"widths only (qat_w4a4:4); default: {' '.join(METHODS)}")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder of all runs")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--set", action="append", default=[], help="for all, as in `quell run`")
    return parser.parse_args()


def all_cells(arguments):
    for model in arguments.models:
        yield Cell(model, METHODS[0], 0, 1)
        for method, only in arguments.methods:
            for bits in arguments.bits:
                if only is None or bits in only:
                    yield from (Cell(model, method, bits, seed) for seed in arguments.seeds)


def command(cell, arguments):
    folder = cell.folder(arguments.output)
    settings = [f"name={folder.name}", f"seed={cell.seed}", "threads=1",
                f"model.path={cell.model.path}", f"task.path={cell.model.data}",
                f"task.name={cell.model.task}", *arguments.set]
    settings += [f"rules[{rule}].bits={cell.bits}" for rule in (0, 1) if cell.bits]
    settings += ["stages=[quantized]"] if cell.bits else ["pipeline=[]", "stages=[float]"]
    line = [str(ROOT / "build/quell"), "run", str(METHOD_FILES / f"{cell.method}.yaml"),
            "--quiet", "--overwrite", "--output", str(folder)]
    return line + [part for setting in settings for part in ("--set", setting)]


def run(cell, arguments):
    folder = cell.folder(arguments.output)
    if (folder / "metrics.json").exists():
        return True
    result = subprocess.run(command(cell, arguments), capture_output=True, text=True)
    state = "done" if result.returncode == 0 else result.stderr.strip()
    print(f"{folder}: {state}", file=sys.stderr, flush=True)
    return result.returncode == 0


def metric(cell, arguments):  # its name and value, None where there is none
    file = cell.folder(arguments.output) / "metrics.json"
    if not file.exists():
        return None
    (metrics,) = json.loads(file.read_text())["stages"].values()
    name, value = next(iter(metrics.items()))
    return None if value is None else (name, 100 * value)


def summary(cells, arguments):
    values = [found[1] for found in (metric(cell, arguments) for cell in cells) if found]
    if len(values) < len(cells) or not values:
        return f"{len(values)} of {len(cells)} runs" if cells else ""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def print_table(arguments):
    widths = arguments.bits
    print("| model | metric | method | " + " | ".join(f"{bits} bits" for bits in widths) + " |")
    print("|---|---|---|" + "---|" * len(widths))
    for model in arguments.models:
        found = metric(Cell(model, METHODS[0], 0, 1), arguments)
        name, value = (found[0], f"{found[1]:.2f}") if found else ("?", "missing")
        print(f"| {model.label()} | {name} | float | " + " | ".join([value] * len(widths)) + " |")
        for method, only in arguments.methods:
            cells = [[Cell(model, method, bits, seed) for seed in arguments.seeds]
                     if only is None or bits in only else [] for bits in widths]
            print(f"| | | {method} | " + " | ".join(summary(c, arguments) for c in cells) + " |")


def main():
    arguments = parse_arguments()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        complete = list(pool.map(lambda cell: run(cell, arguments), all_cells(arguments)))
    print_table(arguments)
    sys.exit(0 if all(complete) else 1)


if __name__ == "__main__":
    main()
