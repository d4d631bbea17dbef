"""Figures of outliers.h5, token by token. Each fills one matplotlib Axes and returns it."""
from __future__ import annotations

from typing import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from quell_analysis.figures import KIND_COLORS, KIND_LABELS, sites_of_role
from quell_analysis.outliers import OutlierFile
from quell_analysis.style import INK, PALE, QUIET


def outliers_by_position(file: OutlierFile, stage: str, role: str, sigma: float = 6,
                         from_end: bool = False) -> pd.DataFrame:
    """Per layer (rows) and position in the sequence (columns), the share of tokens that hold a value
    beyond `sigma` standard deviations. `from_end` counts positions from the last token, -1."""
    rows = {}
    for _, site in sites_of_role(file, stage, role).iterrows():
        tokens = file.all_tokens(stage, site["site"])
        position = tokens["position"]
        if from_end:
            position = position - tokens.groupby("sequence")["position"].transform("max") - 1
        rows[site["layer"]] = (tokens[f"beyond_{sigma:g}"] > 0).groupby(position).mean()
    return pd.DataFrame(rows).T.rename_axis("layer")


def draw_position_map(axes: Axes, shares: pd.DataFrame, colorbar: bool = True) -> Axes:
    """A map of what outliers_by_position() gives, with the share of tokens as colour."""
    positions = shares.columns
    picture = axes.imshow(100 * shares, cmap="Oranges", vmin=0, vmax=100, aspect="auto",
                          extent=(positions[0] - 0.5, positions[-1] + 0.5, len(shares) - 0.5, -0.5))
    axes.set_yticks(range(len(shares)), [f"layer {layer}" for layer in shares.index])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel("position, from the last token" if positions[-1] < 0 else "position of the token")
    if colorbar:
        bar = axes.figure.colorbar(picture, ax=axes, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label("% of tokens")
    return axes


def draw_token_texts(axes: Axes, file: OutlierFile, stage: str, site: str,
                     sequences: Iterable[int], sigma: float = 6) -> Axes:
    """The range of every token of some sequences, with its text."""
    tokens = file.all_tokens(stage, site)
    chosen = pd.concat([tokens[tokens["sequence"] == sequence] for sequence in sequences])
    breaks = (chosen["sequence"] != chosen["sequence"].shift()).cumsum() - 1
    places = np.arange(len(chosen)) + breaks.to_numpy()
    colors = chosen["kind"].map(KIND_COLORS)
    axes.vlines(places, chosen["min"], chosen["max"], color=colors, linewidth=4)
    axes.axhline(0, color=INK, linewidth=0.4)
    mark_sigma(axes, file, stage, site, sigma)
    axes.set_xticks(places, chosen["text"], rotation=90, fontsize=7)
    for label, color, kind in zip(axes.get_xticklabels(), colors, chosen["kind"]):
        label.set_color(INK if kind == "other" else color)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-1, places[-1] + 1)
    axes.set_ylabel("range of values")
    axes.legend(handles=[Line2D([], [], color=KIND_COLORS[kind], linewidth=4, label=KIND_LABELS[kind])
                         for kind in KIND_COLORS if (chosen["kind"] == kind).any()],
                ncol=4, loc="lower left", bbox_to_anchor=(0, 1), handlelength=0.8, borderaxespad=0.2)
    return axes


def mark_sigma(axes: Axes, file: OutlierFile, stage: str, site: str, sigma: float) -> None:
    """Dashed lines at `sigma` standard deviations from the mean of the site."""
    moments = file.sites(stage).set_index("site").loc[site]
    for side in (-sigma, sigma):
        axes.axhline(moments["mean"] + side * moments["std"], color=INK, linewidth=0.6,
                     linestyle=(0, (4, 3)))
    axes.annotate(f"{sigma:g} std", (1, moments["mean"] + sigma * moments["std"]),
                  xycoords=("axes fraction", "data"), xytext=(2, 0), textcoords="offset points",
                  va="center", fontsize=7)


def draw_covered_range(axes: Axes, file: OutlierFile, stage: str, role: str) -> Axes:
    """How far a range reaches that covers the largest value of a share of the tokens: what a ratio of
    token-wise clipping means, for every layer."""
    sites = sites_of_role(file, stage, role)
    grays = np.linspace(0.0, 0.65, len(sites))
    for gray, (_, site) in zip(grays, sites.iterrows()):
        largest = np.sort(file.all_tokens(stage, site["site"])["max"].to_numpy())
        share = np.arange(1, len(largest) + 1) / len(largest)
        axes.step(share, largest, color=str(gray), linewidth=1.2, label=f"{site['layer']}")
    tokens = file.tokens()
    others = 1 - (tokens["kind"] == "cls").mean()
    axes.axvline(others, color=KIND_COLORS["cls"], linewidth=0.8, linestyle=(0, (4, 3)))
    axes.annotate("all but [CLS]", (others, 1), (3, 0), xycoords=("data", "axes fraction"),
                  textcoords="offset points", ha="left", va="top", fontsize=7,
                  color=KIND_COLORS["cls"])
    axes.set_xlim(1, 0.5)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_xlabel("ratio: share of tokens inside of the range")
    axes.set_ylabel(f"upper end of the range, {role}")
    axes.legend(title="layer", title_fontsize=7.5, loc="upper right", handlelength=1.2)
    return axes


def draw_migration(axes: Axes, file: OutlierFile, role: str, before: str = "float",
                   after: str = "gamma_migration") -> Axes:
    """The largest value of each channel behind every norm, against the gamma that the norm has
    before migration; in standard deviations of the site, which the migration changes."""
    old, new = (norms_of_role(file, stage, role) for stage in (before, after))
    gamma = old["gamma"].abs()
    reach = [norms["channel_max"] / norms["norm"].map(file.sites(stage).set_index("site")["std"])
             for norms, stage in ((old, before), (new, after))]
    far = np.maximum(*reach) > 6
    axes.vlines(gamma[far], reach[0][far], reach[1][far], color=QUIET, linewidth=0.5, zorder=1)
    for values, kind, label in ((reach[0], "sep", "before"), (reach[1], "cls", "after migration")):
        axes.scatter(gamma, values, s=7, color=KIND_COLORS[kind], alpha=0.55, linewidth=0, label=label)
    axes.axhline(6, color=QUIET, linewidth=0.6, linestyle=(0, (4, 3)))
    axes.annotate("6 std", (1, 6), xycoords=("axes fraction", "data"), xytext=(2, 0),
                  textcoords="offset points", va="center", fontsize=7)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("|gamma| of the channel, before migration")
    axes.set_ylabel("largest |value| / standard deviation")
    axes.legend(loc="upper left", handletextpad=0.2, markerscale=1.6)
    axes.set_title(role)
    return axes


def norms_of_role(file: OutlierFile, stage: str, role: str) -> pd.DataFrame:
    """norms() of the norms called LAYER.ROLE, such as encoder.3.ffn.norm."""
    norms = file.norms(stage)
    return norms[norms["norm"].str.endswith("." + role) & (norms["layer"] >= 0)]
