#!/usr/bin/env python3
"""Times quell's integer engine against int8 in onnxruntime and CTranslate2, all on one core in one run.

The same dev set of SST-2, sorted by length in batches of 32, and single sentences of 16, 64 and 128
tokens; neither loading nor tokenizing counts. Processor time. Each round runs quell (`quell parity`:
its float network, and W8A8 with static ranges by integers) and every peer once. onnxruntime's and
CTranslate2's models are made here from quell's float export and from the weights: dynamic ranges,
a scale per output of the weights.

Needs: pip install numpy safetensors transformers onnx==1.23.2 onnxruntime==1.32.0 ctranslate2==4.8.5
Example: integer_peers.py --quell build/quell --model models/minilm-sst2 --data data/glue/SST-2
"""

import argparse
import csv
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np  # noqa: E402: reads the variables

MAX_LENGTH = 128
BATCH_SIZE = 32
SINGLE_TOKENS = (16, 64, 128)
REPEATS = 5  # of a single sentence, in each round

EXPERIMENT = """
name: peers
threads: 1
model: {{path: {model}}}
task: {{type: glue, name: sst2, path: {data}, max_length: 128, batch_size: 32}}
calibration: {{samples: 64}}
"""
W8A8 = """
quant:
  include: placements/outlier_suppression.yaml
  rules:
    - {sites: "weight:*", bits: 8, symmetric: true, granularity: channel, observer: minmax}
    - {sites: "activation:*", bits: 8, symmetric: false, observer: avg_minmax}
"""
FLOAT = "quant: {rules: []}\npipeline: []\n"


def read_dev(folder):
    with open(pathlib.Path(folder) / "dev.tsv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["sentence"] for row in rows], np.array([int(row["label"]) for row in rows])


def sorted_batches(tokenizer, sentences):
    lengths = [len(ids) for ids in tokenizer(sentences, truncation=True, max_length=MAX_LENGTH)["input_ids"]]
    order = sorted(range(len(sentences)), key=lambda i: lengths[i])
    batches = []
    for start in range(0, len(order), BATCH_SIZE):
        indices = order[start : start + BATCH_SIZE]
        encoded = tokenizer([sentences[i] for i in indices], padding="longest", truncation=True,
                            max_length=MAX_LENGTH, return_tensors="np")
        batches.append((indices, {name: np.ascontiguousarray(values, np.int64) for name, values in encoded.items()}))
    return batches, sum(lengths)


def single(batch, tokens):
    ids = np.resize(batch["input_ids"], (1, tokens))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def run_quell(arguments, work, verb, quant, *options):
    experiment = work / "experiment.yaml"
    experiment.write_text(EXPERIMENT.format(model=pathlib.Path(arguments.model).absolute(),
                                            data=pathlib.Path(arguments.data).absolute()) + quant)
    quell = pathlib.Path(arguments.quell).absolute()
    result = subprocess.run([quell, verb, experiment, *options], check=True, capture_output=True, text=True)
    return result.stdout


def onnxruntime_int8(arguments, work):
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic
    run_quell(arguments, work, "export", FLOAT, "--format", "onnx", "--output", work / "onnx", "--overwrite", "--quiet")
    quantize_dynamic(str(work / "onnx/model.onnx"), str(work / "int8.onnx"), per_channel=True,
                     weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(work / "int8.onnx"), options, providers=["CPUExecutionProvider"])
    names = {one.name for one in session.get_inputs()}
    return lambda batch: session.run(None, {name: values for name, values in batch.items() if name in names})[0]


def ctranslate2_int8(arguments, work):
    import ctranslate2
    from ctranslate2.converters import utils
    from ctranslate2.specs import common_spec, transformer_spec
    from safetensors.numpy import load_file
    from transformers import AutoTokenizer
    folder = pathlib.Path(arguments.model)
    config = json.loads((folder / "config.json").read_text())
    tensors = {name: values.astype(np.float32) for name, values in load_file(folder / "model.safetensors").items()}
    layers = config["num_hidden_layers"]
    spec = transformer_spec.TransformerEncoderModelSpec(
        transformer_spec.TransformerEncoderSpec(
            layers, config["num_attention_heads"], pre_norm=False, activation=common_spec.Activation.GELU,
            layernorm_embedding=True, num_source_embeddings=2, embeddings_merge=common_spec.EmbeddingsMerge.ADD),
        pooling_layer=True, pooling_activation=common_spec.Activation.Tanh)

    def fill(part, module):
        part.weight, part.bias = tensors[module + ".weight"], tensors[module + ".bias"]

    def fill_norm(part, module):
        part.gamma, part.beta = tensors[module + ".weight"], tensors[module + ".bias"]

    stem, encoder = "bert.embeddings.", spec.encoder
    encoder.scale_embeddings = False
    encoder.embeddings[0].weight = tensors[stem + "word_embeddings.weight"]
    encoder.embeddings[1].weight = tensors[stem + "token_type_embeddings.weight"]
    encoder.position_encodings.encodings = tensors[stem + "position_embeddings.weight"]
    fill_norm(encoder.layernorm_embedding, stem + "LayerNorm")
    for index, layer in enumerate(encoder.layer):
        stem = f"bert.encoder.layer.{index}."
        projections = [common_spec.LinearSpec() for _ in range(3)]
        for part, name in zip(projections, ("query", "key", "value")):
            fill(part, f"{stem}attention.self.{name}")
        utils.fuse_linear(layer.self_attention.linear[0], projections)
        fill(layer.self_attention.linear[1], stem + "attention.output.dense")
        fill_norm(layer.self_attention.layer_norm, stem + "attention.output.LayerNorm")
        fill(layer.ffn.linear_0, stem + "intermediate.dense")
        fill(layer.ffn.linear_1, stem + "output.dense")
        fill_norm(layer.ffn.layer_norm, stem + "output.LayerNorm")
    fill(spec.pooler_dense, "bert.pooler.dense")
    vocabulary = AutoTokenizer.from_pretrained(folder).get_vocab()
    words = {index: word for word, index in vocabulary.items()}
    spec.register_vocabulary([words.get(i, f"<unused {i}>") for i in range(config["vocab_size"])])
    spec.config.unk_token = "[UNK]"
    spec.config.layer_norm_epsilon = config["layer_norm_eps"]
    spec.validate()
    spec.optimize(quantization="int8")
    (work / "ct2").mkdir()
    spec.save(str(work / "ct2"))
    network = ctranslate2.Encoder(str(work / "ct2"), device="cpu", compute_type="int8", inter_threads=1, intra_threads=1)
    weight, bias = tensors["classifier.weight"], tensors["classifier.bias"]

    def run(batch):
        ids = [row[:count].tolist() for row, count in zip(batch["input_ids"], batch["attention_mask"].sum(1))]
        return np.array(network.forward_batch(ids).pooler_output) @ weight.T + bias
    return run


class Figures:
    def __init__(self):
        self.tokens_per_second, self.single_ms, self.accuracy = [], {tokens: [] for tokens in SINGLE_TOKENS}, 0.0


def measure_peer(run, batches, tokens, labels, figures):
    answers = np.zeros(len(labels), int)
    start = time.process_time()
    for indices, batch in batches:
        answers[indices] = run(batch).argmax(1)
    figures.tokens_per_second.append(tokens / (time.process_time() - start))
    figures.accuracy = 100 * float((answers == labels).mean())
    for count in SINGLE_TOKENS:
        sentence = single(batches[0][1], count)
        for _ in range(REPEATS):
            start = time.process_time()
            run(sentence)
            figures.single_ms[count].append(1e3 * (time.process_time() - start))


def measure_quell(arguments, work, figures):
    found = json.loads(run_quell(arguments, work, "parity", W8A8, "--engines", "packed", "integer", "--batches", "0",
                                 "--rounds", "1", "--json"))
    for times in found["times"]:
        if times["engine"] not in ("float", "integer"):
            continue
        one = figures["quell " + times["engine"]]
        one.tokens_per_second.append(times["tokens_per_second"])
        for tokens, milliseconds in zip(SINGLE_TOKENS, times["single_ms"]):
            one.single_ms[tokens].append(milliseconds)
    figures["quell integer"].accuracy = 100 * found["metrics"]["integer"]["accuracy"]
    return found["processor"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("quell", "model", "data"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    sentences, labels = read_dev(arguments.data)
    batches, tokens = sorted_batches(tokenizer, sentences)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        peers = {"onnxruntime int8": onnxruntime_int8(arguments, work), "CTranslate2 int8": ctranslate2_int8(arguments, work)}
        figures = {name: Figures() for name in ("quell float", "quell integer", *peers)}
        for _ in range(arguments.rounds):
            processor = measure_quell(arguments, work, figures)
            for name, run in peers.items():
                run(batches[-1][1])  # warm
                measure_peer(run, batches, tokens, labels, figures[name])
    print(processor)
    for name, one in figures.items():
        print(f"{name:17} {statistics.median(one.tokens_per_second):8.0f} tokens/s  "
              + "  ".join(f"{count}: {statistics.median(ms):6.2f} ms" for count, ms in one.single_ms.items())
              + (f"  accuracy {one.accuracy:.2f}" if one.accuracy else ""))
    integer = figures["quell integer"].tokens_per_second
    for name in figures:
        ratios = [a / b for a, b in zip(integer, figures[name].tokens_per_second)]
        print(f"quell integer / {name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


main()
