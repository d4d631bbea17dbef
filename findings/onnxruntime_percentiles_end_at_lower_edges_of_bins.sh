#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6: CalibrationMethod.Percentile, which is there to leave outliers out,
# takes the lower edge of the bin in which a percentile lies, for the upper end of a range, too (compute_percentile of
# calibrate.py), and its 2048 bins span all values. A single outlier of 10000 among 16000 values of a normal
# distribution puts the others into the two bins next to 0: the percentiles 0.05 and 99.95, about -3.3 and 3.3, become
# the smallest value and 0, so that every positive value is cut off. With symmetric ranges (the default of
# create_calibrator) the range ends at the smallest |x|, and all values are cut off. Nothing warns. Expected: the upper
# edge at the upper end, or bins that tell the percentile from 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
  --target "$folder/packages" onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
PYTHONPATH="$folder/packages" python3 - "$folder" << 'PYTHON'
import contextlib
import sys

import numpy as np
from onnx import TensorProto, helper, save
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

folder = sys.argv[1]
values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 8]) for name in "xy"}
identity = helper.make_tensor("weight", TensorProto.FLOAT, [8, 8], np.eye(8).flatten())
graph = helper.make_graph([helper.make_node("MatMul", ["x", "weight"], ["y"])], "g", [values["x"]], [values["y"]],
                          [identity])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), f"{folder}/model.onnx")


class Batches(CalibrationDataReader):
    def __init__(self, batches):
        self.batches = iter(batches)

    def get_next(self):
        return next(({"x": batch} for batch in self.batches), None)


found = {}
for symmetric in (False, True):
    for outlier in (0, 10000):
        x = np.random.default_rng(0).normal(0, 1, (2000, 8)).astype(np.float32)
        x[0, 0] = outlier
        with contextlib.redirect_stdout(None):
            calibrator = create_calibrator(
                f"{folder}/model.onnx", augmented_model_path=f"{folder}/augmented.onnx",
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={"percentile": 99.9, "symmetric": symmetric})
            calibrator.collect_data(Batches([x]))
            low, high = (float(end) for end in calibrator.compute_data()["x"].range_value)
        found[symmetric, outlier] = low, high
        print(f"symmetric {symmetric}, outlier {outlier}: {low:.4f} to {high:.4f}")
right = all(3 < -low < 3.7 and 3 < high < 3.7 for low, high in (found[False, 0], found[True, 0]))
wrong = found[False, 10000][0] < -3.7 and found[False, 10000][1] == 0 and found[True, 10000][1] < 0.001
sys.exit(0 if right and wrong else "changed")
PYTHON
