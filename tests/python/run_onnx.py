"""Runs an exported model.onnx and compares it with the predictions of a run.

    run_onnx.py MODEL.onnx TOKENS.jsonl PREDICTIONS.jsonl [onnxruntime|openvino]

TOKENS.jsonl is what `quell tokenize` makes of the sentences, PREDICTIONS.jsonl of a run whose stage
`quantized` is compared. Prints JSON: how many of the predictions differ, by how much the logits do, and
the share of right answers of both.
"""

import json
import sys

import numpy as np

BATCH = 8  # sentences that are padded to the longest of them


def sessions(path, runtime):
    """A function from inputs to logits."""
    if runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # Float activations stay float in front of a quantized weight.
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = {one.name for one in session.get_inputs()}
        return lambda inputs: session.run(["logits"], {name: inputs[name] for name in names})[0]
    import openvino

    # Activations that are quantized already are not quantized again.
    compiled = openvino.Core().compile_model(
        path, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"})
    names = {one.get_any_name() for one in compiled.inputs}
    return lambda inputs: compiled({name: inputs[name] for name in names})["logits"]


def batches(lines):
    for first in range(0, len(lines), BATCH):
        some = lines[first : first + BATCH]
        width = max(len(line["ids"]) for line in some)
        inputs = {name: np.zeros((len(some), width), np.int64)
                  for name in ("input_ids", "attention_mask", "token_type_ids")}
        for row, line in enumerate(some):
            count = len(line["ids"])
            inputs["input_ids"][row, :count] = line["ids"]
            inputs["attention_mask"][row, :count] = 1
            inputs["token_type_ids"][row, :count] = line["types"]
        yield inputs


def main():
    model, tokens, predictions = sys.argv[1:4]
    run = sessions(model, sys.argv[4] if len(sys.argv) > 4 else "onnxruntime")
    with open(tokens) as file:
        lines = [json.loads(line) for line in file]
    with open(predictions) as file:
        expected = [json.loads(line) for line in file]
    ours = np.array([one["outputs"]["quantized"]["logits"] for one in expected])
    theirs = np.concatenate([run(inputs) for inputs in batches(lines)])
    labels = np.array([one.get("label", -1) for one in expected])
    print(json.dumps({
        "predictions": len(ours),
        "different": int((ours.argmax(1) != theirs.argmax(1)).sum()),
        "largest": float(np.abs(ours - theirs).max()),
        "rms": float(np.sqrt(np.mean((ours - theirs) ** 2))),
        "ours": float((ours.argmax(1) == labels).mean()),
        "theirs": float((theirs.argmax(1) == labels).mean()),
    }))


main()
