"""results.h5 as pandas DataFrames."""
from __future__ import annotations

import pandas as pd

from quell_analysis.files import QuellFile, attributes


class ResultsFile(QuellFile):
    """What a run found."""

    FORMAT = "quell results"
    NEWEST_VERSION = 2

    def metrics(self) -> pd.DataFrame:
        """One row per stage, one column per metric; shares are in [0, 1]."""
        rows = [{"stage": stage} | attributes(self.h5[f"metrics/{stage}"])
                for stage in self.stages]
        return pd.DataFrame(rows).set_index("stage")

    def sites(self) -> pd.DataFrame:
        """One row per site: how it was quantized, what that costs, and its range."""
        rows = []
        for kind in self.h5["sites"].values():
            for name, site in kind.items():
                row = {"site": name} | attributes(site)
                if "range_min" in site:
                    row["range_min"] = float(site["range_min"][()].min())
                    row["range_max"] = float(site["range_max"][()].max())
                rows.append(row)
        return pd.DataFrame(rows)

    def outputs(self, stage: str, part: str, output: str = "logits") -> pd.DataFrame:
        """What the model gave for each example of a set of data (`part`: "dev"), by its index."""
        values = self.h5[f"outputs/{stage}/{part}/{output}"][()]
        index = pd.Index(self.h5[f"examples/{part}/index"][()], name="index")
        if len(values) != len(index):
            raise ValueError(f"{self.path}: examples have different numbers of values; "
                             f"read outputs/{stage}/{part}/{output}_offsets")
        return pd.DataFrame(values, index=index)

    def search(self, name: str) -> pd.DataFrame:
        """One row per candidate that a searching solver tried."""
        group = self.h5[f"searches/{name}"]
        return pd.DataFrame({column: data[()] for column, data in group.items()})
