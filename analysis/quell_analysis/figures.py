"""Figures of outliers.h5. Each draw_... fills one matplotlib Axes; draw_outliers makes a page."""
from __future__ import annotations

from pathlib import Path
from typing import Union

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from quell_analysis.outliers import OutlierFile
from quell_analysis.style import (ACCENT, BLUE, GREEN, INK, PURPLE, QUIET, STYLE, VERMILION)

KIND_COLORS = {"cls": BLUE, "sep": VERMILION, "punctuation": GREEN, "other": QUIET,
               "pad": "#d4d4d8"}
KIND_LABELS = {"cls": "first ([CLS])", "sep": "[SEP]", "punctuation": "punctuation",
               "other": "other tokens", "pad": "padding"}
STAGE_COLORS = [INK, BLUE, VERMILION, GREEN, PURPLE]


def sites_of_role(file: OutlierFile, stage: str, role: str) -> pd.DataFrame:
    """The sites called LAYER.ROLE, such as encoder.3.attention.norm, in order."""
    sites = file.sites(stage)
    found = sites[(sites["layer"] >= 0) & sites["site"].str.endswith("." + role)]
    if found.empty:
        raise KeyError(f"{file.path}: no site of stage {stage} ends with .{role}")
    return found


def draw_sigma_map(axes: Axes, file: OutlierFile, stage: str, role: str, sigma: float) -> list[int]:
    """Which channels of which layers hold values beyond `sigma`; returns the channels by count."""
    sites = sites_of_role(file, stage, role)
    total: dict[int, float] = {}
    width = 0
    for height, (_, site) in enumerate(sites.iterrows()):
        channels = file.channels(stage, site["site"])
        width = len(channels)
        share = channels[f"beyond_{sigma:g}"] / site["row_count"]
        share = share[share > 0]
        for channel, value in share.items():
            total[int(channel)] = total.get(int(channel), 0) + value
        axes.scatter(share.index, np.full(len(share), height), s=6 + 90 * share, color=ACCENT,
                     alpha=0.75, linewidth=0, clip_on=False, zorder=3)
    names = [name.rsplit("." + role, 1)[0].replace("encoder.", "layer ") for name in sites["site"]]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, width - 1)
    axes.grid(axis="y", color="#e2e8f0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("channel")
    order = sorted(total, key=lambda channel: -total[channel])
    label_channels(axes, order[:5], width)
    for share in (0.05, 0.5, 1):
        axes.scatter([], [], s=6 + 90 * share, color=ACCENT, alpha=0.75, linewidth=0,
                     label=f"{100 * share:.0f} %")
    axes.legend(title="tokens with an outlier there", title_fontsize=7.5, ncol=3,
                loc="upper right", bbox_to_anchor=(1, -0.13), handletextpad=0.2, columnspacing=1)
    axes.set_title(f"a   outlier channels: beyond {sigma:g} standard deviations", pad=16)
    return order


def label_channels(axes: Axes, channels: list[int], width: int) -> None:
    """Writes channel numbers above the axes; neighbours are moved apart."""
    room = 0.045 * width
    places: list[float] = []
    for channel in sorted(channels):
        place = max([channel, *[other + room for other in places]]) if places else channel
        places.append(place)
        axes.annotate(str(channel), (channel, 1), (place, 1.03), xycoords=("data", "axes fraction"),
                      textcoords=("data", "axes fraction"), ha="center", fontsize=7, color=ACCENT)


def draw_token_ranges(axes: Axes, file: OutlierFile, stage: str, site: str, most: int = 400) -> None:
    """The range of each token, or of the furthest ones where not all were recorded."""
    try:
        tokens = file.all_tokens(stage, site).head(most)
        label = "token, in the order of the calibration set"
    except KeyError:
        tokens = file.top_tokens(stage, site)
        label = "token, furthest first"
    for kind, color in KIND_COLORS.items():
        chosen = np.flatnonzero(tokens["kind"] == kind)
        if not len(chosen):
            continue
        rows = tokens.iloc[chosen]
        axes.vlines(chosen, rows["min"], rows["max"], color=color, linewidth=0.8,
                    label=KIND_LABELS[kind], zorder=2 if kind == "other" else 3)
    mean, deviation = (float(file.h5[f"stages/{stage}/sites/{site}"].attrs[name])
                       for name in ("mean", "std"))
    for side in (-6, 6):
        axes.axhline(mean + side * deviation, color=INK, linewidth=0.6, linestyle=(0, (4, 3)))
    axes.annotate("6 std", (1, mean + 6 * deviation), xycoords=("axes fraction", "data"),
                  xytext=(2, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_xlim(-2, len(tokens) + 1)
    axes.set_xlabel(label)
    axes.set_ylabel("range of values")
    low, high = tokens["min"].min(), tokens["max"].max()
    axes.set_ylim(low - 0.05 * (high - low), high + 0.22 * (high - low))
    axes.legend(ncol=4, loc="upper left", handlelength=1, columnspacing=1, borderaxespad=0)
    axes.set_title(f"b   range of each token at {site}")


def draw_gamma(axes: Axes, file: OutlierFile, stage: str, role: str) -> None:
    """Gamma of every norm against the largest value of the channel."""
    norms = file.norms(stage)
    norms = norms[norms["norm"].str.endswith("." + role) & (norms["layer"] >= 0)]
    if norms.empty or "channel_max" not in norms:
        axes.set_axis_off()
        return
    layers = sorted(norms["layer"].unique())
    colors = plt.get_cmap("viridis")(np.linspace(0.05, 0.85, len(layers)))
    for color, (layer, table) in zip(colors, norms.groupby("layer")):
        axes.scatter(table["gamma"].abs(), table["channel_max"], s=5, color=color, linewidth=0,
                     alpha=0.8, label=f"{layer}")
    extreme = norms.sort_values("channel_max").groupby("channel").tail(1).tail(4)
    placed: list[float] = []
    room = 0.055 * norms["channel_max"].max()
    left = 0.03 * norms["gamma"].abs().max()
    for _, row in extreme.sort_values("channel_max").iterrows():
        gamma, value = abs(row["gamma"]), row["channel_max"]
        placed.append(max([value, *[other + room for other in placed]]))
        axes.annotate(f"{row['channel']:.0f}", (gamma, value), (gamma - left, placed[-1]),
                      ha="right", va="center", fontsize=7, color=ACCENT)
    axes.set_xlabel("|gamma| of the channel")
    axes.set_ylabel(f"largest |value|, {role}")
    axes.set_ylim(bottom=0)
    axes.legend(title="layer", title_fontsize=7.5, ncol=1 + (len(layers) - 1) // 6,
                loc="upper left", handletextpad=0, borderaxespad=0, markerscale=2)
    axes.set_title("c   gamma and outliers")


def draw_kurtosis(axes: Axes, file: OutlierFile, role: str) -> None:
    """Kurtosis of each layer, for every stage."""
    for color, stage in zip(STAGE_COLORS, file.stages):
        sites = sites_of_role(file, stage, role)
        axes.plot(range(len(sites)), sites["kurtosis"], "o-", color=color, markersize=3.5,
                  linewidth=1, label=stage.replace("_", " "))
    axes.axhline(3, color=QUIET, linewidth=0.6, linestyle=(0, (4, 3)))
    axes.annotate("normal", (1, 3), xycoords=("axes fraction", "data"), xytext=(2, 0),
                  textcoords="offset points", va="center", fontsize=7, color="#64748b")
    axes.set_yscale("log")
    axes.set_xticks(range(len(sites)))
    axes.set_xlabel("layer")
    axes.set_ylabel(f"kurtosis of {role}")
    axes.legend(loc="best")
    axes.set_title("d   kurtosis, stage by stage")


def draw_attention(axes: Axes, file: OutlierFile, stage: str) -> None:
    """Attention that each head pays to the first token or to separators, whichever gets more."""
    heads = file.attention(stage)
    target = "first" if heads["first"].mean() > heads["separators"].mean() else "separators"
    table = heads.pivot(index="site", columns="head", values=target)
    picture = axes.imshow(100 * table, cmap="Oranges", vmin=0, vmax=100, aspect="auto")
    axes.set_yticks(range(len(table)), [name.rsplit(".attention", 1)[0].replace("encoder.", "layer ")
                                        for name in table.index])
    axes.set_xlabel("head")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    bar = axes.figure.colorbar(picture, ax=axes, shrink=0.9, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("% of the attention")
    axes.set_title("e   attention on " + {"first": "[CLS]", "separators": "[SEP]"}[target])


def draw_hidden_states(axes: Axes, file: OutlierFile, stage: str) -> None:
    """The largest values behind each layer, of three channels, and their median (as Sun et al. 2024)."""
    states = file.hidden_states(stage).drop_duplicates(["segment", "channel"])
    states["place"] = states.groupby("segment").cumcount() + 1
    segments = list(dict.fromkeys(states["segment"]))
    for place, color in zip((1, 2, 3), (VERMILION, BLUE, GREEN)):
        chosen = states[states["place"] == place].set_index("segment").reindex(segments)
        axes.plot(range(len(segments)), chosen["value"].abs(), "o-", color=color, markersize=3,
                  linewidth=1, label={1: "largest", 2: "next channel", 3: "third channel"}[place])
    medians = states.groupby("segment")["median"].first().reindex(segments)
    axes.plot(range(len(segments)), medians, "-", color=QUIET, linewidth=1, label="median")
    largest = states[states["place"] == 1].reset_index(drop=True)
    top = largest.loc[largest["value"].abs().idxmax()]
    where = f"channel {top['channel']}" + (
        f", position {top['position']}, {top['ratio']:,.0f} medians" if "position" in top else "")
    axes.annotate(where, (segments.index(top["segment"]), abs(top["value"])), xytext=(4, 4),
                  textcoords="offset points", fontsize=7, color=VERMILION)
    labels = [name.rsplit(".", 1)[-1] for name in segments]
    step = max(1, len(segments) // 16)
    axes.set_xticks(range(0, len(segments), step), labels[::step])
    axes.set_yscale("log")
    axes.set_ylim(top=8 * abs(top["value"]))
    axes.set_xlabel("behind the embeddings and each layer")
    axes.set_ylabel("|value|")
    axes.legend(ncol=4, loc="upper left", handlelength=1, columnspacing=1, borderaxespad=0)
    axes.set_title("f   largest values of hidden states")


def draw_outliers(file: OutlierFile, output: Union[str, Path], stage: str = "float",
                  role: str = "attention.norm", sigma: float = 6) -> None:
    """A page: outlier channels, token ranges, gamma, kurtosis by stage, attention, hidden states."""
    if f"beyond_{sigma:g}" not in file.sites(stage):
        raise KeyError(f"{file.path}: counted beyond {file.sigmas} standard deviations, not {sigma:g}")
    sites = sites_of_role(file, stage, role)
    widest = sites.loc[sites["reach"].idxmax(), "site"]
    attention = not file.attention(stage).empty
    states = not file.hidden_states(stage).empty
    heights = [0.8, 1, 1] + [0.9] * states
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(7.6, 2.6 * sum(heights)), layout="constrained")
        rows = figure.add_gridspec(len(heights), 6, height_ratios=heights)
        draw_sigma_map(figure.add_subplot(rows[0, :]), file, stage, role, sigma)
        draw_token_ranges(figure.add_subplot(rows[1, :]), file, stage, widest)
        third = 2 if attention else 3
        draw_gamma(figure.add_subplot(rows[2, :third]), file, stage, role)
        draw_kurtosis(figure.add_subplot(rows[2, third:2 * third]), file, role)
        if attention:
            draw_attention(figure.add_subplot(rows[2, 4:]), file, stage)
        if states:
            draw_hidden_states(figure.add_subplot(rows[3, :]), file, stage)
        figure.savefig(output, dpi=200)
        plt.close(figure)
