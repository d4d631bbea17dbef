"""Runs an exported ONNX file on tokenized sentences and compares its logits with a run's.

onnx_predictions.py RUNTIME MODEL.onnx TOKENS.jsonl PREDICTIONS.jsonl: RUNTIME is onnxruntime or openvino, TOKENS what
`quell tokenize` prints, PREDICTIONS a run's predictions.jsonl. Prints JSON: how many sentences, how many with another
class, the largest difference of a logit, and the accuracy of both.
"""

import json
import sys

import numpy as np

BATCH = 32


def session(runtime, path):
    """A function from a dict of arrays to logits, and the names of its inputs."""
    if runtime == "onnxruntime":
        import onnxruntime

        loaded = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda inputs: loaded.run(None, inputs)[0], {one.name for one in loaded.get_inputs()}
    import openvino

    core = openvino.Core()
    # float32, and no second quantization of activations that are quantized already.
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32",
                                                                 "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"})
    return lambda inputs: compiled(inputs)[0], {one.get_any_name() for one in compiled.inputs}


def padded(rows):
    width = max(map(len, rows))
    return np.array([row + [0] * (width - len(row)) for row in rows], dtype=np.int64)


def main(runtime, path, tokens_path, predictions_path):
    run, names = session(runtime, path)
    tokens = [json.loads(line) for line in open(tokens_path)]
    expected = [json.loads(line) for line in open(predictions_path)]
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]["ids"]))
    logits = [None] * len(tokens)
    for begin in range(0, len(order), BATCH):
        batch = order[begin:begin + BATCH]
        ids = [tokens[i]["ids"] for i in batch]
        inputs = {"input_ids": padded(ids), "attention_mask": padded([[1] * len(one) for one in ids]),
                  "token_type_ids": padded([tokens[i]["types"] for i in batch])}
        for i, row in zip(batch, run({name: inputs[name] for name in names})):
            logits[i] = row
    found = np.array(logits)
    ours = np.array([one["outputs"]["quantized"]["logits"] for one in expected])
    labels = np.array([one["label"] for one in expected])
    print(json.dumps({
        "sentences": len(found),
        "other_classes": int((found.argmax(1) != ours.argmax(1)).sum()),
        "largest_difference": float(np.abs(found - ours).max()),
        "median_difference": float(np.median(np.abs(found - ours))),
        "accuracy": float((found.argmax(1) == labels).mean()),
        "accuracy_of_run": float((ours.argmax(1) == labels).mean())}))


main(*sys.argv[1:])
