"""Compares outliers.h5 with NumPy on the raw activations that it holds.

    QUELL_OUTLIERS=outliers.h5 python -m unittest discover -s analysis/tests -t analysis

The file has to hold raw activations of all sites and all tokens (`raw: "*"`, a large `raw_tokens`,
`all_tokens: true`). Needs h5py; tests of the reader need pandas, those of figures matplotlib.
"""
import importlib.util
import os
import tempfile
import unittest
from pathlib import Path

import h5py
import numpy as np

FILE = os.environ.get("QUELL_OUTLIERS", "")
# float32 powers, summed in double: the kernel promises 2e-6.
TOLERANCE = 1e-5


def needs(module):
    return unittest.skipUnless(importlib.util.find_spec(module), f"needs {module}")


def moments(values, axis=None):
    """Population moments in double precision."""
    values = values.astype(np.float64)
    mean = values.mean(axis=axis)
    distance = values - (mean if axis is None else np.expand_dims(mean, axis))
    m2, m3, m4 = ((distance ** power).mean(axis=axis) for power in (2, 3, 4))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"mean": mean, "std": np.sqrt(m2), "skewness": m3 / m2 ** 1.5,
                "kurtosis": m4 / m2 ** 2}


@unittest.skipUnless(FILE, "needs a file in QUELL_OUTLIERS")
class AgainstNumpy(unittest.TestCase):
    def setUp(self):
        self.file = h5py.File(FILE, "r")
        self.sigmas = self.file["axes/sigma"][()]

    def tearDown(self):
        self.file.close()

    def raw_sites(self):
        for stage in self.file.attrs["stages"]:
            for name, site in self.file[f"stages/{stage}/sites"].items():
                if "raw" in site:
                    yield f"{stage} {name}", site, site["raw"][()]

    def assert_moments(self, where, stored, expected):
        scale = np.maximum(np.abs(expected["mean"]) + expected["std"], 1e-30)
        for name, value in expected.items():
            # Means cancel: measured against the size of the values. Skewness likewise against 1.
            size = scale if name == "mean" else np.maximum(np.abs(value), 1e-30)
            size = np.maximum(np.abs(value), 1) if name == "skewness" else size
            # Constant channels: NumPy's mean may be off in the last bit, shapes are not defined.
            size = np.maximum(size, 1e-6 * scale) if name == "std" else size
            constant = expected["std"] <= 1e-6 * scale
            error = np.abs(np.asarray(stored[name]) - value) / size
            worst = np.max(np.where(constant & (name in ("skewness", "kurtosis")), 0, error))
            self.assertLessEqual(worst, TOLERANCE, f"{where} {name}")

    def test_all_sites_but_attention_have_raw_values(self):
        self.assertGreater(len(list(self.raw_sites())), 50)

    def test_moments_of_site_and_channels(self):
        for where, site, raw in self.raw_sites():
            self.assertEqual(site.attrs["value_count"], raw.size, where)
            self.assert_moments(where, site.attrs, moments(raw))
            group = site["channels"]
            if len(raw) > 1:
                self.assert_moments(where, {name: group[name][()] for name in group},
                                    moments(raw, axis=0))
            np.testing.assert_array_equal(group["min"], raw.min(axis=0), where)
            np.testing.assert_array_equal(group["max"], raw.max(axis=0), where)

    def test_counts_are_exact(self):
        some = 0
        for where, site, raw in self.raw_sites():
            values = raw.astype(np.float64)
            distance = np.abs(values - values.mean()) / values.std()
            for i, sigma in enumerate(self.sigmas):
                beyond = distance > sigma
                some += beyond.sum()
                self.assertEqual(site["beyond"][i], beyond.sum(), where)
                np.testing.assert_array_equal(site["channels/beyond"][i], beyond.sum(axis=0), where)
                np.testing.assert_array_equal(site["rows/beyond"][i], beyond.sum(axis=1), where)
                if "kinds" in site:
                    kinds = self.file["tokens/kind"][()]
                    expected = [beyond[kinds == kind].sum() for kind in range(5)]
                    np.testing.assert_array_equal(site["kinds/beyond"][i], expected, where)
        self.assertGreater(some, 100)

    def test_rows_quantiles_and_extremes(self):
        shares = self.file["axes/quantile"][()]
        for where, site, raw in self.raw_sites():
            low, high = raw.min(axis=1), raw.max(axis=1)
            np.testing.assert_array_equal(site["rows/min"], low, where)
            np.testing.assert_array_equal(site["rows/max"], high, where)
            # Interpolated in double precision here, in float32 by NumPy.
            np.testing.assert_allclose(site["row_quantiles/max"],
                                       np.quantile(high.astype(np.float64), shares), rtol=1e-12)
            reach = np.maximum(high - raw.mean(dtype=np.float64), raw.mean(dtype=np.float64) - low)
            top = site["top_rows/row"][()]
            np.testing.assert_allclose(np.sort(reach)[::-1][:len(top)], reach[top], rtol=1e-12)
            for i, row in enumerate(top[:5]):
                self.assertEqual(site["top_rows/value"][i], raw[row, site["top_rows/channel"][i]])

    def test_histograms(self):
        edges = self.file["axes/log_edge"][()]
        for where, site, raw in self.raw_sites():
            counts = site["log_histogram"]
            magnitudes = np.abs(raw).ravel().astype(np.float64)
            inside = magnitudes[(magnitudes >= edges[0]) & (magnitudes < edges[-1])]
            # np.histogram closes the last bin, which is not reached here.
            np.testing.assert_array_equal(counts, np.histogram(inside, edges)[0], where)
            self.assertEqual(counts.attrs["below"], (magnitudes < edges[0]).sum(), where)
            if where.startswith("quantized"):
                continue  # a grid of values may coincide with the edges
            linear = site["histogram"]
            expected = np.histogram(raw, len(linear), (raw.min(), raw.max()))[0]
            if raw.min() < raw.max():
                self.assertEqual(sum(linear), raw.size, where)
            # A value on an edge may fall to either side, by the order of float32 operations.
            self.assertLessEqual(np.abs(linear[()] - expected).sum(), 2 + raw.size // 2000, where)

    def test_gamma_beside_the_largest_value(self):
        for stage in self.file.attrs["stages"]:
            for norm in self.file[f"stages/{stage}/norms"].values():
                raw = self.file[f"stages/{stage}/sites/{norm.attrs['site']}/raw"][()]
                np.testing.assert_array_equal(norm["channel_max"], np.abs(raw).max(axis=0))

    def test_attention_follows_from_query_and_key(self):
        offsets = self.file["sequences/offset"][()]
        kinds = self.file["tokens/kind"][()]
        sites = self.file["stages/float/sites"]
        probs_sites = [name for name in sites if name.endswith(".probs")]
        self.assertGreater(len(probs_sites), 1)
        for name in probs_sites:
            query, key = (sites[name.replace("probs", part)]["raw"][()].astype(np.float64)
                          for part in ("query", "key"))
            heads = len(sites[name]["channels/mean"])
            size = query.shape[1] // heads
            rows = []
            for begin, end in zip(offsets[:-1], offsets[1:]):
                q, k = (rows_of[begin:end].reshape(end - begin, heads, size).transpose(1, 0, 2)
                        for rows_of in (query, key))
                scores = q @ k.transpose(0, 2, 1) / np.sqrt(size)
                probs = np.exp(scores - scores.max(axis=2, keepdims=True))
                probs /= probs.sum(axis=2, keepdims=True)
                separators = probs[:, :, kinds[begin:end] == 1].sum(axis=2)
                rows.append((probs, probs[:, :, 0], probs[:, :, -1], separators))
            group = sites[name]["attention"]
            for index, part in ((1, "first"), (2, "last"), (3, "separators")):
                expected = np.concatenate([row[index] for row in rows], axis=1).mean(axis=1)
                # float32 products in the network.
                np.testing.assert_allclose(group[part], expected, atol=1e-5, err_msg=name)
            flat = [np.concatenate([row[0][head].ravel() for row in rows]) for head in range(heads)]
            channels = sites[name]["channels"]
            for head, values in enumerate(flat):
                np.testing.assert_allclose(channels["max"][head], values.max(), atol=1e-5)
                np.testing.assert_allclose(channels["kurtosis"][head],
                                           moments(values)["kurtosis"], rtol=1e-3)


@unittest.skipUnless(FILE, "needs a file in QUELL_OUTLIERS")
@needs("pandas")
class Reader(unittest.TestCase):
    def setUp(self):
        from quell_analysis import OutlierFile

        self.file = OutlierFile(FILE)
        self.site = "encoder.0.attention.norm"

    def tearDown(self):
        self.file.close()

    def test_tables_have_tokens_with_their_text(self):
        tokens = self.file.tokens()
        self.assertEqual(tokens["text"].iloc[0], "[CLS]")
        self.assertEqual(list(tokens["kind"].iloc[:1]), ["cls"])
        self.assertEqual((tokens["kind"] == "sep").sum(), tokens["sequence"].nunique())
        ranks = self.file.vocabulary().query("text == '[SEP]'")["rank"]
        self.assertLessEqual(int(ranks.iloc[0]), 2)
        top = self.file.top_tokens("float", self.site)
        self.assertTrue({"text", "kind", "rank", "position", "sequence", "value"} <= set(top))
        self.assertTrue((top["reach"].diff().dropna() <= 0).all())

    def test_sites_channels_and_kinds_agree(self):
        sites = self.file.sites("float").set_index("site")
        channels = self.file.channels("float", self.site)
        kinds = self.file.token_kinds("float", self.site)
        self.assertEqual(sites.loc[self.site, "beyond_6"], channels["beyond_6"].sum())
        self.assertEqual(sites.loc[self.site, "beyond_6"], kinds["beyond_6"].sum())
        self.assertEqual(kinds["rows"].sum(), len(self.file.all_tokens("float", self.site)))
        self.assertEqual(len(self.file.norms("float")["norm"].unique()), 9)
        self.assertEqual(self.file.histogram("float", self.site)["count"].sum(),
                         sites.loc[self.site, "value_count"])

    def test_every_stage_is_there(self):
        self.assertEqual(self.file.stages, ["float", "gamma_migration", "quantized"])
        quantized = self.file.sites("quantized").set_index("site")
        self.assertTrue(0.5 < quantized.loc[self.site, "cosine_to_float"] <= 1)

    @needs("matplotlib")
    def test_figure(self):
        from quell_analysis.figures import draw_outliers

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "figure.png"
            draw_outliers(self.file, path)
            self.assertGreater(path.stat().st_size, 20000)

    def test_another_file_is_refused(self):
        from quell_analysis import ResultsFile

        with self.assertRaisesRegex(ValueError, "found \"quell outliers\""):
            ResultsFile(FILE)


@unittest.skipUnless(FILE, "needs a file in QUELL_OUTLIERS")
@needs("pandas")
class HiddenStates(unittest.TestCase):
    """Of a file that `quell outliers` wrote."""

    def test_have_values_with_tokens(self):
        from quell_analysis import OutlierFile

        with OutlierFile(FILE) as file:
            states = file.hidden_states("float")
            self.assertEqual(states["segment"].iloc[0], "embeddings")
            self.assertEqual(int(states["layer"].max()) + 2, states["segment"].nunique())
            self.assertTrue({"text", "position", "channel", "row"} <= set(states))
            self.assertTrue((states[states["place"] == 1]["ratio"] > 1).all())
            for _, state in states.groupby("segment"):
                self.assertTrue((state["value"].abs().diff().dropna() <= 0).all())

    @needs("matplotlib")
    def test_figure_shows_them(self):
        from quell_analysis import OutlierFile
        from quell_analysis.figures import draw_outliers

        with OutlierFile(FILE) as file, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "outliers.png"
            draw_outliers(file, path)
            self.assertGreater(path.stat().st_size, 20000)


if __name__ == "__main__":
    unittest.main()
