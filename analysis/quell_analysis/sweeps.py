"""The folder of a sweep as pandas DataFrames."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Union

import pandas as pd

from quell_analysis.files import PathLike
from quell_analysis.results import ResultsFile

Setting = Union[str, int, float]
SEARCH = "token_wise_clipping"


class SweepFolder:
    """What `quell sweep` left behind. Settings are columns named by their keys, seeds included;
    experiment files (`base`) go by their name without folder and ending."""

    FORMAT = "quell sweep"
    NEWEST_VERSION = 1

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        file = self.path / "sweep.json"
        self._index = json.loads(file.read_text(encoding="utf-8"))
        found, version = self._index.get("format", ""), self._index.get("version", 0)
        if found != self.FORMAT or version > self.NEWEST_VERSION:
            raise ValueError(f"{file}: expected \"{self.FORMAT}\" up to version "
                             f"{self.NEWEST_VERSION}, found \"{found}\" version {version}")

    @property
    def name(self) -> str:
        return str(self._index["name"])

    @property
    def keys(self) -> list[str]:
        """What was swept, in the order of the sweep file."""
        return [key for axis in self._index["axes"] for key in axis]

    def cells(self) -> pd.DataFrame:
        """One row per cell, done or not: its settings, `status` and `folder`."""
        return pd.DataFrame([
            {key: read_setting(value) for key, value in cell["settings"].items()}
            | {"status": cell["status"], "folder": self.path / cell["folder"]}
            for cell in self._index["cells"]])

    def metrics(self) -> pd.DataFrame:
        """One row per stage of each cell that is done: settings, `stage`, a column per metric."""
        rows = []
        for cell in self._done():
            text = (cell["folder"] / "metrics.json").read_text(encoding="utf-8")
            for stage, metrics in json.loads(text)["stages"].items():
                rows.append(self._settings(cell) | {"stage": stage} | metrics)
        return pd.DataFrame(rows)

    def searches(self, name: str = SEARCH) -> pd.DataFrame:
        """One row per candidate of each cell whose solver searched: settings, `ratio`, `loss`,
        `batches`, and whether it was `chosen`."""
        tables = []
        for cell in self._done():
            with ResultsFile(cell["folder"] / "results.h5") as file:
                if f"searches/{name}" not in file.h5:
                    continue
                table = file.search(name)
                chosen = int(file.h5[f"searches/{name}"].attrs["chosen"])
            table["chosen"] = table.index == chosen
            tables.append(table.assign(**self._settings(cell)))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def _done(self) -> list[dict[str, Any]]:
        cells = self.cells()
        done: list[dict[str, Any]] = cells[cells["status"] == "done"].to_dict("records")
        return done

    def _settings(self, cell: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in cell.items() if key not in ("status", "folder")}


def read_setting(text: str) -> Setting:
    """A number where it is one, an experiment file without folder and ending."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return Path(text).stem if text.endswith(".yaml") else text
