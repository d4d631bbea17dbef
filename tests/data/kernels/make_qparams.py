"""Collects ranges with their published scale and zero point from the goldens into qparams.json.

Usage: python3 make_qparams.py GOLDENS_FOLDER
Every row is [grid, bits, symmetric, signed, min, max, scale, zero_point]; numbers carry enough
digits to restore the float32. `signed` is of the whole tensor, which decides for all its channels.
"""

import glob
import json
import os
import sys


def as_list(value):
    return value if isinstance(value, list) else [value]


def outlier_suppression(folder):
    table = json.load(open(f"{folder}/outlier_suppression/units/scalars.json"))["qparams"]
    assert table["columns"] == ["min", "max", "bit", "symmetric", "scale", "zero_point"]
    for low, high, bits, symmetric, scale, zero_point in table["rows"]:
        yield ["os", bits, bool(symmetric), True, low, high, scale, zero_point]


def outlier_suppression_plus(folder):
    for case in json.load(open(f"{folder}/outlier_suppression_plus/observers.json"))["cases"]:
        # MSEFast keeps its range in float64, which the digits here do not restore.
        for after in [] if "MSEFast" in case["observer"] else case.get("after", []):
            if not after or "scale" not in after:
                continue
            columns = zip(as_list(after["min"]), as_list(after["max"]), as_list(after["scale"]),
                          as_list(after["zp"]))
            for low, high, scale, zero_point in columns:
                yield ["os_plus", case["bit"], case["symmetric"], True, low, high, scale,
                       zero_point]


def qualcomm_rows(bits, method, record):
    if "xmin" not in record or "delta" not in record or isinstance(record["xmin"], str):
        return
    symmetric = method.startswith("symmetric")
    lows, highs = as_list(record["xmin"]), as_list(record["xmax"])
    deltas = as_list(record["delta"])
    offsets = [0.0] * len(deltas) if symmetric else as_list(record["zero_float"])
    if not len(lows) == len(highs) == len(deltas) == len(offsets):
        return
    for low, high, delta, offset in zip(lows, highs, deltas, offsets):
        zero_point = min(max(round(offset), 0), 2**bits - 1)
        yield ["qualcomm", bits, symmetric, record.get("signed", True), low, high,
               max(delta, 1e-8), zero_point]


def qualcomm(folder):
    for case in json.load(open(f"{folder}/qualcomm/range_estimators.json"))["cases"]:
        if case.get("scale_domain") == "log":  # `delta` is a logarithm there.
            continue
        for after in case.get("after", []):
            if after:
                yield from qualcomm_rows(case["bit"], case["qmethod"], after)
    for path in sorted(glob.glob(f"{folder}/qualcomm/*/run_*.json")):
        for record in json.load(open(path))["quantizers"]:
            yield from qualcomm_rows(record["n_bits"], record["method"], record)


def main():
    folder = sys.argv[1]
    rows = {}
    for source in (outlier_suppression, outlier_suppression_plus, qualcomm):
        for row in source(folder):
            rows[json.dumps(row)] = None
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "qparams.json")
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(rows) + "\n]\n")
    print(f"{len(rows)} rows")


main()
