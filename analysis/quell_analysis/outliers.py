"""outliers.h5 as pandas DataFrames."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, Optional

import h5py
import numpy as np
import pandas as pd

from quell_analysis.files import QuellFile, attributes

if TYPE_CHECKING:
    import xarray


class OutlierFile(QuellFile):
    """The statistics of activations that quell recorded.

    Columns `beyond_K` count values further than K standard deviations of the site from its mean.
    """

    FORMAT = "quell outliers"

    @property
    def sigmas(self) -> list[float]:
        return [float(value) for value in self.h5["axes/sigma"]]

    def site_names(self, stage: str) -> list[str]:
        """In the order in which the model runs them."""
        return list(self.h5[f"stages/{stage}/sites"])

    def sites(self, stage: Optional[str] = None) -> pd.DataFrame:
        """One row per stage and site: moments of all its values, counts, errors to float."""
        rows = []
        for each in [stage] if stage else self.stages:
            for name in self.site_names(each):
                site = self._site(each, name)
                rows.append({"stage": each, "site": name} | attributes(site)
                            | self._beyond(site["beyond"][()]))
        return pd.DataFrame(rows)

    def channels(self, stage: str, site: str) -> pd.DataFrame:
        """One row per channel; for attention matrices per head."""
        group = self._site(stage, site)["channels"]
        axis = group["min"].attrs["axes"][0]
        return self._table(group).rename_axis(axis)

    def top_tokens(self, stage: str, site: str) -> pd.DataFrame:
        """The rows that reach furthest, furthest first, with their tokens where rows are tokens."""
        group = self._site(stage, site)
        table = self._table(group["top_rows"])
        return self._with_tokens(table, str(group.attrs["rows"]))

    def all_tokens(self, stage: str, site: str) -> pd.DataFrame:
        """Every row with its range and token; needs `record.outliers.all_tokens`."""
        group = self._site(stage, site)
        if "rows" not in group:
            raise KeyError(f"{self.path}: {site} has no table of all rows; record them with "
                           "record.outliers.all_tokens: true")
        table = self._table(group["rows"])
        table.insert(0, "row", np.arange(len(table)))
        return self._with_tokens(table, str(group.attrs["rows"]))

    def token_kinds(self, stage: str, site: str) -> pd.DataFrame:
        """One row per kind of token: how many, their mean range, outliers among their values."""
        table = self._table(self._site(stage, site)["kinds"])
        return table.set_index(pd.Index(self._kinds(), name="kind"))

    def row_quantiles(self, stage: str, site: str) -> pd.DataFrame:
        """Quantiles of the rows' minima and maxima."""
        table = self._table(self._site(stage, site)["row_quantiles"])
        return table.set_index(pd.Index(self.h5["axes/quantile"][()], name="quantile"))

    def histogram(self, stage: str, site: str) -> pd.DataFrame:
        """Counts of values, with the edges `low` and `high` of each bin."""
        data = self._site(stage, site)["histogram"]
        edges = np.linspace(data.attrs["low"], data.attrs["high"], len(data) + 1)
        return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": data[()]})

    def log_histogram(self, stage: str, site: str) -> pd.DataFrame:
        """Counts of |value|, in bins whose widths double with each octave."""
        data = self._site(stage, site)["log_histogram"]
        edges = self.h5["axes/log_edge"][()]
        return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": data[()]})

    def attention(self, stage: str) -> pd.DataFrame:
        """One row per head: shares of its attention that go to first, last and separating tokens."""
        tables = []
        for name in self.site_names(stage):
            site = self._site(stage, name)
            if "attention" not in site:
                continue
            table = self._table(site["attention"])
            table.insert(0, "head", np.arange(len(table)))
            table.insert(0, "layer", int(site.attrs["layer"]))
            table.insert(0, "site", name)
            tables.append(table)
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def hidden_states(self, stage: str) -> pd.DataFrame:
        """One row per largest value of what the embeddings and each layer hand on, with its token.

        Written by `quell outliers`; empty in other files.

        Columns `median` (of |x| of the whole state) and `ratio` (|value| / median); `place` is 1 for the largest.
        """
        tables = []
        for name, group in self.h5.get(f"stages/{stage}/hidden_states", {}).items():
            table = self._with_tokens(self._table(group), "token")
            table.insert(0, "place", np.arange(1, len(table) + 1))
            table.insert(0, "layer", int(group.attrs["layer"]))
            table.insert(0, "segment", name)
            table["median"] = float(group.attrs["median"])
            table["ratio"] = table["value"].abs() / table["median"]
            tables.append(table)
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def norms(self, stage: str) -> pd.DataFrame:
        """One row per norm and channel: gamma, beta and the largest |value| of the norm's output."""
        tables = []
        for name, group in self.h5[f"stages/{stage}/norms"].items():
            table = self._table(group)
            table.insert(0, "channel", np.arange(len(table)))
            table.insert(0, "layer", int(group.attrs["layer"]))
            table.insert(0, "norm", name)
            tables.append(table)
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def tokens(self, side: str = "token") -> pd.DataFrame:
        """The tokens of the calibration set (`side="target"`: of the decoder)."""
        group = self.h5[side + "s"]
        table = pd.DataFrame({name: group[name][()] for name in ("id", "sequence", "position")})
        kinds = np.array(self._kinds(), dtype=object)
        table["kind"] = kinds[group["kind"][()]]
        return table.join(self.vocabulary(), on="id").rename_axis("token")

    def vocabulary(self) -> pd.DataFrame:
        """The tokens that occur, by id: text, number of occurrences, rank by frequency."""
        group = self.h5["vocabulary"]
        table = pd.DataFrame({"text": group["text"].asstr()[()], "count": group["count"][()],
                              "rank": group["rank"][()]})
        return table.set_index(pd.Index(group["id"][()], name="id"))

    def raw(self, stage: str, site: str) -> np.ndarray:
        """The stored rows themselves, [rows, channels]."""
        return np.asarray(self._site(stage, site)["raw"][()])

    def raw_array(self, stage: str, site: str) -> "xarray.DataArray":
        """The same with named axes and the text of each token; needs xarray."""
        import xarray

        group = self._site(stage, site)
        values = self.raw(stage, site)
        row = str(group.attrs["rows"])
        array = xarray.DataArray(values, dims=(row, "channel"), name=site)
        if row in ("token", "target"):
            tokens = self.tokens(row).iloc[:len(values)]
            array = array.assign_coords({name: (row, tokens[name].to_numpy())
                                         for name in ("text", "sequence", "position", "kind")})
        return array

    def _site(self, stage: str, site: str) -> h5py.Group:
        return self.h5[f"stages/{stage}/sites/{site}"]

    def _kinds(self) -> list[str]:
        return list(self.h5["axes/kind"].asstr()[()])

    def _beyond(self, counts: Iterable[Any]) -> dict[str, Any]:
        return {f"beyond_{sigma:g}": count for sigma, count in zip(self.sigmas, counts)}

    def _table(self, group: h5py.Group) -> pd.DataFrame:
        columns: dict[str, Any] = {}
        for name, data in group.items():
            columns |= self._beyond(data[()]) if name == "beyond" else {name: data[()]}
        return pd.DataFrame(columns)

    def _with_tokens(self, table: pd.DataFrame, rows: str) -> pd.DataFrame:
        if rows not in ("token", "target"):
            return table
        return table.join(self.tokens(rows), on="row")
