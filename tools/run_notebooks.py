#!/usr/bin/env python3
"""Runs all notebooks of analysis/notebooks: run_notebooks.py RUNS OUTPUT

They read the folder RUNS. What comes out is in OUTPUT: the notebooks with their figures, and every
figure as a picture. Fails where a notebook fails or draws nothing."""

import base64
import json
import os
import pathlib
import sys
import tempfile
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOKS = pathlib.Path(__file__).resolve().parent.parent / "analysis/notebooks"
SECONDS = 600  # for a cell


def use_this_python(folder):
    """A kernel that runs this interpreter, whatever others are installed."""
    kernel = pathlib.Path(folder) / "kernels/quell"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "quell", "language": "python"}))
    os.environ["JUPYTER_PATH"] = str(folder)
    # Settings and histories of the user stay out.
    os.environ["IPYTHONDIR"] = str(pathlib.Path(folder) / "ipython")


def pictures(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield base64.b64decode(output["data"]["image/png"])


def run(path, output):
    """Returns how many figures the notebook drew."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="quell",
                            resources={"metadata": {"path": str(path.parent)}})
    try:
        client.execute()
    finally:
        nbformat.write(notebook, output / path.name)
    count = 0
    for count, picture in enumerate(pictures(notebook), start=1):
        (output / f"{path.stem}_{count}.png").write_bytes(picture)
    return count


def main():
    runs, output = (pathlib.Path(name).resolve() for name in sys.argv[1:3])
    output.mkdir(parents=True, exist_ok=True)
    os.environ["QUELL_RUNS"] = str(runs)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        use_this_python(folder)
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            start = time.monotonic()
            try:
                count = run(path, output)
            except CellExecutionError as error:
                print(f"{path.name}: failed\n{error}", file=sys.stderr)
                failed = True
                continue
            print(f"{path.name}: {count} figures ({time.monotonic() - start:.1f} s)")
            failed |= count == 0
    print(f"notebooks with their figures: {output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
