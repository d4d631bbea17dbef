#!/usr/bin/env python3
"""Draws where outliers hurt: the ranges that observers found, and what they cost at each bit width.

    make demo
    python3 tools/plot_outliers.py runs/quickstart-w{8a8,6a6,4a4}/results.h5 -o outliers.png

Takes results files of the same experiment at different bit widths. Needs h5py and matplotlib
(`pip install h5py matplotlib`).
"""
import argparse

import h5py
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OUTLIER_ROLES = {"attention.norm": "#c2410c", "ffn.gelu": "#b45309"}
QUIET = "#94a3b8"
BIT_COLORS = ["#0f766e", "#2563eb", "#be123c", "#7c3aed", "#475569"]
STAGES = {"weights_only": ("weights", "#64748b"), "activations_only": ("activations", "#c2410c"),
          "quantized": ("both", "#0f172a")}
TITLE = {"loc": "left", "fontsize": 9.5, "fontweight": "bold", "pad": 16}
SHORT = {"attention.query": "query", "attention.key": "key", "attention.value": "value",
         "attention.probs": "probabilities", "attention.context": "context",
         "attention.norm": "attention norm", "ffn.gelu": "GELU", "ffn.norm": "output norm",
         "embeddings.norm": "embedding norm", "pooler.input": "pooler input",
         "pooler.output": "pooler output"}


class Run:
    """What the picture shows of one results file."""

    def __init__(self, path):
        with h5py.File(path) as file:
            self.metrics = {stage: dict(file["metrics"][stage].attrs) for stage in file["metrics"]}
            sites = [group for group in file["sites/activation"].values()
                     if "range_min" in group and "sqnr_db" in group.attrs]
            self.names = [site.attrs["key"].removeprefix("activation:") for site in sites]
            self.layers = [int(site.attrs["layer"]) for site in sites]
            self.bits = max(int(site.attrs["bits"]) for site in sites)
            self.low = [float(site["range_min"][:].min()) for site in sites]
            self.high = [float(site["range_max"][:].max()) for site in sites]
            self.sqnr = [float(site.attrs["sqnr_db"]) for site in sites]
            labels = next(iter(file["examples"].values()))["label"][:]
            self.majority = max((labels == value).mean() for value in set(labels))

    def metric(self, stage):
        return next(iter(self.metrics[stage].values()))

    def metric_name(self):
        return next(iter(self.metrics["float"]))


def part_of(name):
    """"encoder.3.ffn.gelu" -> "ffn.gelu"."""
    return name.split(".", 2)[2] if name.startswith("encoder.") else name


def color_of(name):
    return OUTLIER_ROLES.get(part_of(name), QUIET)


def mark_columns(axes, run):
    for position, name in enumerate(run.names):
        if part_of(name) in OUTLIER_ROLES:
            axes.axvspan(position - 0.5, position + 0.5, color="#fff1e6", zorder=0)
    for position in range(1, len(run.names)):
        if run.layers[position] != run.layers[position - 1]:
            axes.axvline(position - 0.5, color="#cbd5e1", linewidth=0.8, zorder=1)
    axes.set_xlim(-0.5, len(run.names) - 0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw_ranges(axes, run):
    mark_columns(axes, run)
    heights = [high - low for low, high in zip(run.low, run.high)]
    axes.bar(range(len(heights)), heights, bottom=run.low, width=0.62,
             color=[color_of(name) for name in run.names], zorder=2)
    axes.axhline(0, color="black", linewidth=0.6, zorder=3)
    axes.set_title("a   range of each quantized activation", **TITLE)
    axes.tick_params(labelbottom=False, bottom=False)
    top = max(run.high) * 1.16
    axes.set_ylim(min(run.low) * 1.1, top)
    for layer in sorted(set(run.layers) - {-1}):
        members = [i for i, value in enumerate(run.layers) if value == layer]
        axes.text((members[0] + members[-1]) / 2, top, f"layer {layer}", ha="center", va="bottom",
                  color="#475569")


def draw_sqnr(axes, runs):
    mark_columns(axes, runs[0])
    for run, color in zip(runs, BIT_COLORS):
        axes.plot(range(len(run.sqnr)), run.sqnr, color=color, linewidth=0.9, alpha=0.5, zorder=2)
        axes.plot(range(len(run.sqnr)), run.sqnr, "o", color=color, markersize=4, zorder=3)
        axes.text(len(run.sqnr) - 0.35, run.sqnr[-1], f"{run.bits} bit", color=color, va="center",
                  fontweight="bold")
    axes.set_title("b   what a bit width leaves of it: signal to quantization noise, dB",
                   **TITLE | {"pad": 6})
    axes.set_ylim(bottom=0)
    labels = [SHORT.get(part_of(name), name) for name in runs[0].names]
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    for tick, name in zip(axes.get_xticklabels(), runs[0].names):
        if part_of(name) in OUTLIER_ROLES:
            tick.set_color(color_of(name))
            tick.set_fontweight("bold")


def draw_metric(axes, runs):
    floor = 100 * runs[0].majority
    reference = 100 * runs[0].metric("float")
    for level, text in ((reference, f"float model {reference:.1f}"),
                        (floor, f"always the larger class {floor:.1f}")):
        axes.plot([-0.3, len(runs) - 1], [level, level], color="#94a3b8", linewidth=0.9,
                  linestyle="--", zorder=1)
        axes.text(-0.3, level + (0.6 if level == reference else -0.6), text, color="#475569",
                  va="bottom" if level == reference else "top")
    least_gap = 2.2  # between labels, in the metric's percent
    last_label = -least_gap
    stages = [stage for stage in STAGES if stage in runs[0].metrics]
    for stage in sorted(stages, key=runs[-1].metric):
        name, color = STAGES[stage]
        values = [100 * run.metric(stage) for run in runs]
        axes.plot(range(len(runs)), values, "o-", color=color, markersize=5, linewidth=1.4, zorder=3)
        last_label = max(values[-1], last_label + least_gap)
        axes.text(len(runs) - 0.85, last_label, f"{name} {values[-1]:.1f}", color=color, va="center")
    axes.set_xlim(-0.35, len(runs) + 0.4)
    axes.set_ylim(floor - 6, reference + 5)
    axes.set_xticks(range(len(runs)), [f"{run.bits} bit" for run in runs])
    for tick, color in zip(axes.get_xticklabels(), BIT_COLORS):
        tick.set_color(color)
        tick.set_fontweight("bold")
    axes.set_title(f"c   {runs[0].metric_name()} of the stages, %", **TITLE)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", help="results.h5 of runs at different bit widths")
    parser.add_argument("-o", "--output", default="outliers.png")
    arguments = parser.parse_args()
    runs = sorted((Run(path) for path in arguments.results), key=lambda run: -run.bits)
    if any(run.names != runs[0].names for run in runs):
        parser.error("the files are of experiments that quantize different sites")

    plt.rcParams.update({"font.size": 8.5, "font.family": "DejaVu Sans"})
    figure = plt.figure(figsize=(11.5, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[3.5, 1], height_ratios=[1, 1.15])
    ranges = figure.add_subplot(grid[0, 0])
    draw_ranges(ranges, runs[0])
    draw_sqnr(figure.add_subplot(grid[1, 0], sharex=ranges), runs)
    draw_metric(figure.add_subplot(grid[:, 1]), runs)
    figure.savefig(arguments.output, dpi=140)


if __name__ == "__main__":
    main()
