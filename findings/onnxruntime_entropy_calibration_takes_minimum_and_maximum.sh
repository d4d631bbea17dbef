#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6: CalibrationMethod.Entropy is to find the range at which quantized values
# have the least divergence. As it comes, with 128 bins for values and 128 for codes, the loop over ranges has one
# step, the whole histogram (get_entropy_threshold of calibrate.py): the range is the minimum and maximum, whatever the
# values are, and quantize_static has no option for another number of bins. So its result is that of
# CalibrationMethod.MinMax, also with one outlier of 1000 among 16000 values of a normal distribution. Expected: a search.
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


def calibrated(batches):
    with contextlib.redirect_stdout(None):
        calibrator = create_calibrator(f"{folder}/model.onnx", augmented_model_path=f"{folder}/augmented.onnx",
                                       calibrate_method=CalibrationMethod.Entropy)
        calibrator.collect_data(Batches(batches))
        return tuple(float(end) for end in calibrator.compute_data()["x"].range_value)


same = []
for outlier in (0, 50, 1000):
    batches = np.random.default_rng(0).normal(0, 1, (2, 1000, 8)).astype(np.float32)
    batches[0, 0, 0] = outlier
    whole, default = (float(batches.min()), float(batches.max())), calibrated(batches)
    same.append(default == whole)
    print(f"outlier {outlier}: minimum and maximum {whole}, entropy {default}")
sys.exit(0 if all(same) else "changed")
PYTHON
