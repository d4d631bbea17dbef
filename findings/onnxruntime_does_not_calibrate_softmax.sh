#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6: quantize_static measures the range of what Softmax gives, as of every
# other tensor, and then puts 0 to 1 in its place (adjust_tensor_ranges of base_quantizer.py), whatever the method of
# calibration and without a word. Probabilities over 1024 keys are about 0.001, less than half of the step of 1 / 255:
# all of them become 0, and so does what attention gives. On the measured range the step would be 0.000005. Expected:
# the range that calibration found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
  --target "$folder/packages" onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
PYTHONPATH="$folder/packages" python3 - "$folder" << 'PYTHON'
import logging
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

logging.disable(logging.WARNING)  # quantize_static advises to run its preprocessing, which changes nothing here
folder, keys = sys.argv[1], 1024
ones = helper.make_tensor("ones", TensorProto.FLOAT, [keys, 4], np.ones(4 * keys))
nodes = [helper.make_node("Softmax", ["x"], ["probability"], axis=-1, name="softmax"),
         helper.make_node("MatMul", ["probability", "ones"], ["y"], name="matmul")]
graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, keys])],
                          [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])], [ones])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), f"{folder}/model.onnx")
x = np.random.default_rng(0).normal(0, 0.1, (8, keys)).astype(np.float32)


class Batches(CalibrationDataReader):
    batches = iter([{"x": x}])

    def get_next(self):
        return next(self.batches, None)


quantize_static(f"{folder}/model.onnx", f"{folder}/quantized.onnx", Batches())
quantized = onnx.load(f"{folder}/quantized.onnx").graph.initializer
step = next(float(numpy_helper.to_array(tensor)) for tensor in quantized if tensor.name == "probability_scale")
largest = float((np.exp(x) / np.exp(x).sum(-1, keepdims=True)).max())
y = onnxruntime.InferenceSession(f"{folder}/quantized.onnx").run(None, {"x": x})[0]
print(f"largest probability {largest:.5f}, step {step:.5f}; they add up to 1, quantized to {y.min()} to {y.max()}")
sys.exit(0 if largest < 0.002 and abs(step - 1 / 255) < 1e-6 and not y.any() else "changed")
PYTHON
