"""Figures of sweeps, of sensitivity, and of the linears of a run. Each fills one matplotlib Axes and returns it.

Metrics are shares in [0, 1] and drawn in percent."""
from __future__ import annotations

from typing import Mapping, Optional, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from quell_analysis.style import BLUE, GREEN, INK, MARKERS, PALE, QUIET, SERIES, VERMILION


def draw_clipping_curves(axes: Axes, searches: pd.DataFrame, key: str,
                         labels: Mapping[object, str]) -> Axes:
    """Loss against ratio: a bold line of geometric means per value of `key`, in the order of
    `labels`; thin ones for each seed, with a dot at the ratio that the search chose."""
    for color, marker, (value, label) in zip(SERIES, MARKERS, labels.items()):
        curves = searches[searches[key] == value]
        for _, curve in curves.groupby("seed"):
            axes.plot(curve["ratio"], curve["loss"], color=color, linewidth=0.5, alpha=0.45)
        table = curves.pivot(index="ratio", columns="seed", values="loss")
        axes.plot(table.index, table.prod(axis=1) ** (1 / table.shape[1]), color=color,
                  linewidth=1.4, label=label)
        best = curves[curves["chosen"]]
        axes.plot(best["ratio"], best["loss"], marker, color=color, markersize=5,
                  markeredgecolor="white", markeredgewidth=0.6, zorder=4)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 4, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(searches["ratio"].max(), searches["ratio"].min())
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_xlabel("ratio: share of tokens inside of the range")
    axes.set_ylabel("squared error of the outputs")
    return axes


def draw_accuracy(axes: Axes, metrics: pd.DataFrame, metric: str, bits: str, key: str,
                  labels: Mapping[object, str], reference: Optional[float] = None) -> Axes:
    """A metric against the column `bits`, a line per value of `key`; means over everything else, with
    standard deviations as bars. `reference` is that of the float network."""
    widths = sorted(metrics[bits].unique(), reverse=True)
    for i, (value, label) in enumerate(labels.items()):
        found = metrics[metrics[key] == value].groupby(bits)[metric]
        mean, deviation = (100 * found.agg(how).reindex(widths) for how in ("mean", "std"))
        # Side by side, so that bars can be told apart.
        places = [place + 0.06 * (i - (len(labels) - 1) / 2) for place in range(len(widths))]
        axes.errorbar(places, mean, yerr=deviation, color=SERIES[i], marker=MARKERS[i], markersize=4.5,
                      linewidth=1.2, capsize=2.5, elinewidth=0.9, label=label)
    if reference is not None:
        draw_reference(axes, 100 * reference, "float")
    label_bits(axes, widths, metric, "bits of weights and activations")
    return axes


def draw_left_out(axes: Axes, table: pd.DataFrame, metric: str, bits: int) -> Axes:
    """Groups of sites quantized alone, and all others without them: two dots per group."""
    rows = table[table["bits"] == bits]
    alone, without = (100 * rows[rows["mode"] == mode].set_index("group")[metric]
                      for mode in ("alone", "without"))
    order = (alone - without).sort_values(ascending=False).index
    axes.hlines(range(len(order)), without[order], alone[order], color=PALE, linewidth=2, zorder=1)
    for values, color, marker, label in ((alone, SERIES[0], "o", "this group quantized"),
                                         (without, SERIES[1], "s", "all other groups quantized")):
        axes.plot(values[order], range(len(order)), marker, color=color, markersize=5, label=label)
    for mode, label in (("float", "none"), ("all", "all")):
        value = 100 * float(rows[rows["mode"] == mode][metric].iloc[0])
        axes.axvline(value, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        axes.annotate(label, (value, 1), (0, 2), xycoords=("data", "axes fraction"), fontsize=7,
                      textcoords="offset points", ha="center", va="bottom", color="#475569")
    axes.set_yticks(range(len(order)), [name.split(":")[-1].replace("_", " ") for name in order])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"{metric} at {bits} bits (%)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=2, handletextpad=0.2)
    return axes


def draw_group_bits(axes: Axes, table: pd.DataFrame, metric: str, most: int = 4) -> Axes:
    """A metric against the bits of one group of sites, the rest in float: the `most` groups that lose
    most in colour and with their names, the others in gray."""
    alone = table[table["mode"] == "alone"]
    widths = sorted(alone["bits"].unique(), reverse=True)
    values = 100 * alone.pivot(index="bits", columns="group", values=metric).loc[widths]
    order = values.sum().sort_values().index
    for name in order[most:]:
        axes.plot(range(len(widths)), values[name], color=QUIET, linewidth=0.9)
    for i, name in enumerate(order[:most]):
        axes.plot(range(len(widths)), values[name], color=SERIES[i], marker=MARKERS[i], markersize=4.5,
                  linewidth=1.3, zorder=3, label=name.split(":")[-1].replace("_", " "))
    axes.plot([], [], color=QUIET, linewidth=0.9, label=f"{len(order) - most} other groups")
    draw_reference(axes, 100 * float(table[table["mode"] == "float"][metric].iloc[0]), "float")
    label_bits(axes, widths, metric, "bits of the group")
    return axes


def draw_linear_terms(axes: Axes, sites: pd.DataFrame) -> Axes:
    """What the products of linears make of their bits, from ResultsFile.sites(): a row per linear, with
    the concentration of its input and of its weight, and their alignment, in dB."""
    linears = sites[sites["alignment_db"].notna()]
    terms = [("input_concentration_db", "concentration of the input", VERMILION, "o"),
             ("concentration_db", "concentration of the weight", BLUE, "s"),
             ("alignment_db", "alignment", GREEN, "^")]
    heights = range(len(linears))
    for column, label, color, marker in terms:
        axes.scatter(linears[column], heights, s=14, color=color, marker=marker, linewidth=0,
                     label=label, zorder=3)
    axes.set_yticks(heights, [name.replace("encoder.", "layer ") for name in linears["site"]])
    axes.set_ylim(len(linears) - 0.4, -0.6)
    axes.axvline(0, color=QUIET, linewidth=0.8)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("dB")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncol=3, handletextpad=0.2)
    return axes


def label_bits(axes: Axes, widths: Sequence[float], metric: str, meaning: str) -> None:
    """Names the axes of a plot of a metric against bit widths, which are at 0, 1, ..."""
    axes.set_xticks(range(len(widths)), [f"{width:g}" for width in widths])
    axes.set_xlabel(meaning)
    axes.set_ylabel(f"{metric} (%)")
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.legend(loc="lower left")


def draw_reference(axes: Axes, value: float, label: str) -> None:
    """A dashed line across, with its name behind the axes."""
    axes.axhline(value, color=INK, linewidth=0.7, linestyle=(0, (4, 3)))
    axes.annotate(label, (1, value), xycoords=("axes fraction", "data"), xytext=(3, 0),
                  textcoords="offset points", va="center", fontsize=7)
