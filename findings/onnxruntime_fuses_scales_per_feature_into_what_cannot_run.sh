#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6: QuantizeLinear and DequantizeLinear with one scale for each feature of an
# activation are valid ONNX and run. With a MatMul by an int8 weight behind them they run without optimizations only:
# the default ones make a MatMulIntegerToFloat of the three, which then ends at run time with "input a zero point must be
# a scalar or 1D tensor of size 1". The session is created without complaint. Expected: not to fuse them.
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

scales, zero_points = [0.5, 0.25, 0.125, 1], [100, 110, 120, 130]
constants = [helper.make_tensor("scale", TensorProto.FLOAT, [4], scales),
             helper.make_tensor("zero_point", TensorProto.UINT8, [4], zero_points),
             helper.make_tensor("codes", TensorProto.INT8, [4, 4], 64 * np.eye(4, dtype=int).flatten()),
             helper.make_tensor("weight_scale", TensorProto.FLOAT, [], [1 / 64]),
             helper.make_tensor("weight_zero_point", TensorProto.INT8, [], [0])]
nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["code"], axis=-1),
         helper.make_node("DequantizeLinear", ["code", "scale", "zero_point"], ["value"], axis=-1),
         helper.make_node("DequantizeLinear", ["codes", "weight_scale", "weight_zero_point"], ["weight"]),
         helper.make_node("MatMul", ["value", "weight"], ["y"])]
graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
                          [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])], constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
x = np.array([[1.3, -2.2, 0.7, 5.5]], dtype=np.float32)
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
plain = onnxruntime.InferenceSession(model, options).run(None, {"x": x})[0]
expected = np.rint(x / np.array(scales)) * np.array(scales)
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
optimized = onnxruntime.InferenceSession(model, options)
try:
    error = str(optimized.run(None, {"x": x})[0])
except Exception as problem:
    error = str(problem)
print(f"without optimizations {plain[0]}, right: {np.array_equal(plain, expected)}; with: {error[-150:]}")
sys.exit(0 if np.array_equal(plain, expected) and "must be a scalar" in error else "changed")
PYTHON
