"""sensitivity.json as a pandas DataFrame."""
from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from quell_analysis.files import PathLike

NAME = "sensitivity.json"


def read_sensitivity(path: PathLike) -> pd.DataFrame:
    """One row per evaluation: `group`, `mode` (float, all, alone, without), `bits` (0: as the rules of
    the experiment say), `sites` that were quantized, and a column per metric. `path` is the file or
    its folder. `group` is empty for no and for all sites."""
    file = Path(path) / NAME if Path(path).is_dir() else Path(path)
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or "rows" not in content or "grouping" not in content:
        raise ValueError(f"{file}: expected what `quell sensitivity` writes")
    rows = [{name: row[name] for name in ("group", "mode", "bits", "sites")}
            | {metric["name"]: metric["value"] for metric in row["metrics"]}
            for row in content["rows"]]
    return pd.DataFrame(rows)
