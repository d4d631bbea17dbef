"""What the readers share: opening a file of a known format, and groups as tables."""
from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Optional, Type, TypeVar, Union

import h5py
import numpy as np

PathLike = Union[str, Path]
Self = TypeVar("Self", bound="QuellFile")


class QuellFile:
    """An HDF5 file of quell. Use it in a `with` statement, or close() it."""

    FORMAT = ""
    NEWEST_VERSION = 1

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self.h5 = h5py.File(self.path, "r")
        found, version = self.h5.attrs.get("format", ""), int(self.h5.attrs.get("version", 0))
        if found != self.FORMAT or version > self.NEWEST_VERSION:
            self.h5.close()
            raise ValueError(
                f"{path}: expected \"{self.FORMAT}\" up to version {self.NEWEST_VERSION}, "
                f"found \"{found}\" version {version}")

    def close(self) -> None:
        self.h5.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Of the experiment."""
        return str(self.h5.attrs["name"])

    @property
    def stages(self) -> list[str]:
        return [str(stage) for stage in self.h5.attrs["stages"]]

    @property
    def config(self) -> str:
        """The experiment as YAML, every default written out."""
        return str(self.h5["config"].asstr()[()])


def attributes(group: h5py.Group) -> dict[str, Any]:
    """Attributes as plain Python values."""
    return {name: value.item() if isinstance(value, np.generic) else value
            for name, value in group.attrs.items()}
