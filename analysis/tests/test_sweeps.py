"""Readers and figures of sweeps and of sensitivity, on small files written here.

    python -m unittest discover -s analysis/tests -t analysis
"""
import importlib.util
import json
import tempfile
import unittest
from pathlib import Path


def has(*modules):
    return all(importlib.util.find_spec(module) for module in modules)


RATIOS = (1.0, 0.9, 0.8)
# By method and bits, for seeds 1 and 2.
ACCURACY = {("minmax", 8): (0.84, 0.82), ("minmax", 4): (0.5, 0.54),
            ("clipping", 8): (0.83, 0.85), ("clipping", 4): (0.7, 0.74)}
LOSS = {1: (4.0, 1.0, 2.0), 2: (9.0, 4.0, 3.0)}


def write_cell(folder, method, accuracy, seed):
    import h5py

    folder.mkdir()
    (folder / "metrics.json").write_text(
        json.dumps({"stages": {"quantized": {"accuracy": accuracy}}}))
    with h5py.File(folder / "results.h5", "w") as file:
        file.attrs.update({"format": "quell results", "version": 1, "name": method})
        if method == "clipping":
            search = file.create_group("searches/token_wise_clipping")
            search.attrs["chosen"] = LOSS[seed].index(min(LOSS[seed]))
            search["ratio"], search["loss"], search["batches"] = RATIOS, LOSS[seed], (2, 2, 2)


def write_sweep(folder):
    cells = []
    for (method, bits), accuracies in ACCURACY.items():
        for seed, accuracy in enumerate(accuracies, start=1):
            name = f"bits={bits}_{method}_seed={seed}-0123"
            write_cell(folder / name, method, accuracy, seed)
            settings = {"bits": str(bits), "base": f"methods/{method}.yaml", "seed": str(seed)}
            cells.append({"folder": name, "settings": settings, "status": "done"})
    cells.append({"folder": "never", "settings": {"bits": "2", "base": "methods/minmax.yaml",
                                                  "seed": "1"}, "status": "failed"})
    (folder / "sweep.json").write_text(json.dumps(
        {"format": "quell sweep", "version": 1, "name": "small",
         "axes": [["bits"], ["base"], ["seed"]], "cells": cells}))


def sensitivity_row(group, mode, bits, accuracy):
    return {"group": group, "mode": mode, "bits": bits, "sites": 1,
            "metrics": [{"name": "accuracy", "value": accuracy}, {"name": "f1", "value": 0.5}]}


SENSITIVITY = {"grouping": "role", "experiment": "name: small", "rows": [
    sensitivity_row("", "float", 4, 0.84), sensitivity_row("", "all", 4, 0.5),
    sensitivity_row("activation:norm", "alone", 4, 0.52),
    sensitivity_row("activation:query", "alone", 4, 0.83),
    sensitivity_row("activation:norm", "without", 4, 0.8),
    sensitivity_row("activation:query", "without", 4, 0.51),
    sensitivity_row("activation:norm", "alone", 6, 0.82),
    sensitivity_row("activation:query", "alone", 6, 0.84)]}


@unittest.skipUnless(has("h5py", "pandas"), "needs h5py and pandas")
class Readers(unittest.TestCase):
    def setUp(self):
        from quell_analysis import SweepFolder, read_sensitivity

        self.place = tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name)
        write_sweep(self.folder)
        (self.folder / "sensitivity.json").write_text(json.dumps(SENSITIVITY))
        self.sweep = SweepFolder(self.folder)
        self.sensitivity = read_sensitivity(self.folder)

    def tearDown(self):
        self.place.cleanup()

    def test_cells_have_settings_with_numbers_and_short_names(self):
        cells = self.sweep.cells()
        self.assertEqual(self.sweep.keys, ["bits", "base", "seed"])
        self.assertEqual(len(cells), 9)
        self.assertEqual(list(cells.loc[0, ["bits", "base", "seed"]]), [8, "minmax", 1])
        self.assertEqual(list(cells["status"]), ["done"] * 8 + ["failed"])

    def test_metrics_are_those_of_finished_cells(self):
        metrics = self.sweep.metrics()
        self.assertEqual(len(metrics), 8)
        mean = metrics.groupby(["base", "bits"])["accuracy"].mean()
        for (method, bits), values in ACCURACY.items():
            self.assertAlmostEqual(mean[method, bits], sum(values) / 2)

    def test_searches_say_what_was_chosen(self):
        searches = self.sweep.searches()
        self.assertEqual(len(searches), 2 * 2 * len(RATIOS))
        self.assertEqual(set(searches["base"]), {"clipping"})
        chosen = searches[searches["chosen"]].groupby("seed")["ratio"].unique()
        self.assertEqual({seed: list(ratios) for seed, ratios in chosen.items()},
                         {1: [0.9], 2: [0.8]})
        self.assertTrue(self.sweep.searches("another_solver").empty)

    def test_sensitivity_is_a_row_per_evaluation(self):
        self.assertEqual(list(self.sensitivity.columns),
                         ["group", "mode", "bits", "sites", "accuracy", "f1"])
        norm = self.sensitivity.query("group == 'activation:norm' and mode == 'alone'")
        self.assertEqual(dict(zip(norm["bits"], norm["accuracy"])), {4: 0.52, 6: 0.82})

    def test_other_files_are_refused(self):
        from quell_analysis import SweepFolder, read_sensitivity

        with self.assertRaisesRegex(ValueError, "expected what `quell sensitivity` writes"):
            read_sensitivity(self.folder / "sweep.json")
        (self.folder / "sweep.json").write_text('{"format": "quell sweep", "version": 2}')
        with self.assertRaisesRegex(ValueError, "up to version 1, found .* version 2"):
            SweepFolder(self.folder)
        with self.assertRaises(FileNotFoundError):
            SweepFolder(self.folder / "nowhere")

    @unittest.skipUnless(has("matplotlib"), "needs matplotlib")
    def test_figures_show_the_numbers(self):
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        import pandas as pd
        from quell_analysis.sweep_figures import (draw_accuracy, draw_clipping_curves,
                                                  draw_group_bits, draw_left_out,
                                                  draw_linear_terms)

        def line(axes, label):
            found = next(line for line in axes.lines if line.get_label() == label)
            return [round(float(value), 9) for value in found.get_ydata()]

        axes = draw_group_bits(plt.figure().add_subplot(), self.sensitivity, "accuracy", most=1)
        self.assertEqual(line(axes, "norm"), [82, 52])  # at 6 and at 4 bits
        axes = draw_left_out(plt.figure().add_subplot(), self.sensitivity, "accuracy", 4)
        self.assertEqual([label.get_text() for label in axes.get_yticklabels()], ["query", "norm"])
        axes = draw_accuracy(plt.figure().add_subplot(), self.sweep.metrics(), "accuracy", "bits",
                             "base", {"minmax": "min-max"}, 0.84)
        low, high = axes.containers[0].lines[2][0].get_segments()[1][:, 1]  # the bar at 4 bits
        self.assertAlmostEqual((low + high) / 2, 52)
        self.assertAlmostEqual(high - low, 2 * 2 ** 0.5 * 2)
        searches = self.sweep.searches().query("bits == 4")
        axes = draw_clipping_curves(plt.figure().add_subplot(), searches, "base",
                                    {"clipping": "mean"})
        self.assertEqual(line(axes, "mean"), [round(6 ** 0.5, 9), 2, 6])  # ratios ascend
        linears = pd.DataFrame({"site": ["encoder.0.ffn.output", "embeddings.norm"],
                                "alignment_db": [2.5, None], "concentration_db": [-20.0, None],
                                "input_concentration_db": [-35.0, None]})
        axes = draw_linear_terms(plt.figure().add_subplot(), linears)
        self.assertEqual([round(float(dots.get_offsets()[0, 0]), 9) for dots in axes.collections],
                         [-35, -20, 2.5])
        plt.close("all")


if __name__ == "__main__":
    unittest.main()
