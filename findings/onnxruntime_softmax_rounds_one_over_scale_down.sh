#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6: the default optimizations make a QLinearSoftmax of DequantizeLinear,
# Softmax and QuantizeLinear. Its kernel (qlinear_softmax.cc) multiplies by the whole part of 1 / scale instead of
# dividing by the scale. In float32 1 / (1 / 255) is a little less than 255, so a probability of 1 on the usual grid of
# uint8 (scale 1 / 255) becomes code 254; scales of 1 / 63, 1 / 15 and 1 / 7 (grids of 6, 4 and 3 bits) give 62, 14
# and 6. All probabilities of all rows are 0.4, 1.6, 6.7 and 14 % too small before they are rounded. With a scale of
# 1 / 256, and without optimizations, they are right. Expected: the quotient of the definition.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
  --target "$folder/packages" onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
PYTHONPATH="$folder/packages" python3 - << 'PYTHON'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

scores = np.array([[12, -12, -12, -12]], dtype=np.float32)  # on the grid of the scores; one probability is 1


def code(steps, level):
    constants = [helper.make_tensor("score_scale", TensorProto.FLOAT, [], [0.125]),
                 helper.make_tensor("score_zero_point", TensorProto.UINT8, [], [128]),
                 helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / steps]),
                 helper.make_tensor("zero_point", TensorProto.UINT8, [], [0])]
    nodes = [helper.make_node("QuantizeLinear", ["x", "score_scale", "score_zero_point"], ["score_code"]),
             helper.make_node("DequantizeLinear", ["score_code", "score_scale", "score_zero_point"], ["score"]),
             helper.make_node("Softmax", ["score"], ["probability"], axis=-1),
             helper.make_node("QuantizeLinear", ["probability", "scale", "zero_point"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
                              [helper.make_tensor_value_info("y", TensorProto.UINT8, [None, 4])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    return int(onnxruntime.InferenceSession(model, options).run(None, {"x": scores})[0][0, 0])


found = {}
for steps in (256, 255, 63, 15, 7):
    levels = onnxruntime.GraphOptimizationLevel
    found[steps] = code(steps, levels.ORT_DISABLE_ALL), code(steps, levels.ORT_ENABLE_ALL)
    print(f"scale 1 / {steps}: a probability of 1 has code {found[steps][0]}, optimized {found[steps][1]}")
expected = {256: (255, 255), 255: (255, 254), 63: (63, 62), 15: (15, 14), 7: (7, 6)}
sys.exit(0 if found == expected else f"changed: expected {expected}")
PYTHON
