#!/usr/bin/env bash
# openvino 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, x86-64 with AVX-512: a product of activations that
# the graph quantizes to uint8 and of a uint8 weight with a zero point is taken for a product of float activations
# with a compressed weight. From 32 inputs on OpenVINO's CPU plug-in then quantizes the activations a second time, with scales
# of its own for every 32 features (DYNAMIC_QUANTIZATION_GROUP_SIZE, 32 unless it is set). All numbers below are
# exact in float32, and onnxruntime gives them; OpenVINO is off by up to 2 % of an output's usual size, also with
# INFERENCE_PRECISION_HINT f32. Without a zero point, or with the group size 0, both are right. Expected: the graph.
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

draw = np.random.default_rng(0)
inputs, outputs = 64, 24
codes = draw.integers(0, 256, (inputs, outputs))
x = draw.integers(-60, 60, (16, inputs)).astype(np.float32) / 64  # on the grid of the activations


def largest_error(weight_zero_point, **options):
    constants = [helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 64]),
                 helper.make_tensor("zero_point", TensorProto.UINT8, [], [120]),
                 helper.make_tensor("codes", TensorProto.UINT8, codes.shape, codes.flatten()),
                 helper.make_tensor("weight_scale", TensorProto.FLOAT, [], [1 / 128]),
                 helper.make_tensor("weight_zero_point", TensorProto.UINT8, [], [weight_zero_point])]
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["code"]),
             helper.make_node("DequantizeLinear", ["code", "scale", "zero_point"], ["value"]),
             helper.make_node("DequantizeLinear", ["codes", "weight_scale", "weight_zero_point"], ["weight"]),
             helper.make_node("MatMul", ["value", "weight"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, inputs])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, outputs])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    exact = x.astype(np.float64) @ ((codes - weight_zero_point) / 128)
    core = openvino.Core()
    there = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"} | options)(x)[0]
    elsewhere = onnxruntime.InferenceSession(model).run(None, {"x": x})[0]
    print(f"zero point {weight_zero_point}, {options}: onnxruntime {np.abs(elsewhere - exact).max()}, "
          f"openvino {np.abs(there - exact).max()}, outputs usually {np.abs(exact).mean():.2f}")
    return np.abs(elsewhere - exact).max(), np.abs(there - exact).max()


there, again = largest_error(128)
right = (largest_error(0), largest_error(128, DYNAMIC_QUANTIZATION_GROUP_SIZE="0"))
sys.exit(0 if there == 0 and again > 0.01 and right == ((0, 0), (0, 0)) else "changed")
PYTHON
