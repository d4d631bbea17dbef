"""Colours and type that the figures share. Colours are those of Okabe and Ito (2008), which people
who confuse red and green tell apart."""
from __future__ import annotations

import matplotlib.pyplot as plt

INK = "#0f172a"
QUIET = "#94a3b8"
PALE = "#e2e8f0"
BLUE = "#0072b2"
VERMILION = "#d55e00"
GREEN = "#009e73"
PURPLE = "#cc79a7"
ORANGE = "#e69f00"
SKY = "#56b4e9"
ACCENT = VERMILION
SERIES = [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY]
MARKERS = ["o", "s", "^", "D", "v", "P"]

STYLE = {"font.size": 8, "axes.titlesize": 9, "axes.titleweight": "bold", "axes.titlelocation": "left",
         "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
         "xtick.major.width": 0.6, "ytick.major.width": 0.6, "legend.frameon": False,
         "legend.fontsize": 7.5, "font.family": "DejaVu Sans", "figure.dpi": 150, "savefig.dpi": 200,
         "figure.constrained_layout.use": True}


def use_style() -> None:
    """For all figures from here on, as notebooks want it."""
    plt.rcParams.update(STYLE)
