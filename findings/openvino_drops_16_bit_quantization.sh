#!/usr/bin/env bash
# openvino 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6: a pair of QuantizeLinear and DequantizeLinear with 16
# bits (opset 21, uint16 or int16) is taken out of the graph by OpenVINO's CPU plug-in without a word. Values are
# neither rounded nor cut off: with a scale of 0.00001 the pair holds -0.32768 to 0.32767, and 1.5 comes through as
# 1.5. Pairs of 8 bits are kept. A network whose 16-bit sites were measured elsewhere is another network there.
# Expected: what the graph says, or an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
  --target "$folder/packages" openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
PYTHONPATH="$folder/packages" python3 - << 'PYTHON'
import sys

import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper

x = np.array([[-1.5, 0.1234567, 1.5]], dtype=np.float32)
kept = {}
for name, kind, scale, lowest, highest in (("int8", TensorProto.INT8, 0.002, -128, 127),
                                           ("int16", TensorProto.INT16, 0.00001, -32768, 32767)):
    constants = [helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]),
                 helper.make_tensor("zero_point", kind, [], [0]),
                 helper.make_tensor("unit", TensorProto.FLOAT, [3, 3], np.eye(3).flatten())]
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["code"]),
             helper.make_node("DequantizeLinear", ["code", "scale", "zero_point"], ["value"]),
             helper.make_node("MatMul", ["value", "unit"], ["y"])]
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"}
    graph = helper.make_graph(nodes, "g", [values["x"]], [values["y"]], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()
    defined = np.clip(np.rint(x / np.float32(scale)), lowest, highest) * np.float32(scale)
    core = openvino.Core()
    there = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]
    elsewhere = onnxruntime.InferenceSession(model).run(None, {"x": x})[0]
    print(f"{name}: defined {defined[0]}, onnxruntime {elsewhere[0]}, openvino {there[0]}")
    kept[name] = (np.allclose(there, defined, atol=1e-6), np.array_equal(there, x), np.allclose(elsewhere, defined, atol=1e-6))
expected = {"int8": (True, False, True), "int16": (False, True, True)}
sys.exit(0 if kept == expected else f"changed: {kept}, expected {expected}")
PYTHON
