#!/usr/bin/env bash
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, x86-64: QuantizeLinear saturates. That of onnx.reference turns x / scale
# into int32 first, adds the zero point in int32 and cuts off then (op_quantize_linear.py). From 2^31 steps on the
# first gives the lowest int32, so 1e9 on a grid with the scale 0.1 has the lowest code in place of the highest; and
# with a negative zero point the sum goes around, so that -3.4e38, which masks attention, has code 127 of int8. All
# there is is numpy's RuntimeWarning about a cast. onnxruntime gives the codes of the definition. Expected: those.
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
from onnx.reference import ReferenceEvaluator

x = np.array([np.finfo(np.float32).min, -1e9, -1000, 1000, 1e9], dtype=np.float32)
found = {}
for name, kind, zero_point in (("uint8", TensorProto.UINT8, 128), ("int8", TensorProto.INT8, -20)):
    constants = [helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1]),
                 helper.make_tensor("zero_point", kind, [], [zero_point])]
    graph = helper.make_graph([helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["y"])], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
                              [helper.make_tensor_value_info("y", kind, [None])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with np.errstate(all="ignore"):
        reference = ReferenceEvaluator(model).run(None, {"x": x})[0]
    runtime = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    found[name] = reference.tolist(), runtime.tolist()
    print(f"{name}, zero point {zero_point}: reference {reference}, onnxruntime {runtime}")
expected = {"uint8": ([0, 0, 0, 255, 0], [0, 0, 0, 255, 255]),
            "int8": ([127, 127, -128, 127, 127], [-128, -128, -128, 127, 127])}
sys.exit(0 if found == expected else f"changed: expected {expected}")
PYTHON
