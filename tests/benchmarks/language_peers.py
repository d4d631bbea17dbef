#!/usr/bin/env python3
"""Times the perplexity of a float decoder in quell against CTranslate2, on one core in one run.

Windows of a text, float32, processor time; neither loading nor tokenizing counts: of quell, whose
programs are run with many windows and with one, the difference is. CTranslate2's model is made here
from the weights of a LLaMA or OPT. Both must find the same perplexity.

Needs: pip install numpy safetensors tokenizers ctranslate2==4.8.5
Example: language_peers.py --quell build/quell --model models/tiny-opt --text wikitext-2/test.txt
"""

import argparse
import json
import math
import os
import pathlib
import re
import resource
import statistics
import subprocess
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
import ctranslate2  # noqa: E402: reads the variables
import numpy as np  # noqa: E402
from ctranslate2.converters import utils  # noqa: E402
from ctranslate2.specs import common_spec, transformer_spec  # noqa: E402
from safetensors import safe_open  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

EXPERIMENT = """
name: perplexity
threads: 1
model: {{path: {model}}}
task: {{type: perplexity, dev_file: {text}, unit: whole, bos: never, length: {length}, max_windows: {windows}}}
quant: {{rules: []}}
pipeline: []
stages: [float]
record: {{site_errors: false}}
"""


class Weights:
    def __init__(self, folder):
        self.file = safe_open(folder / "model.safetensors", "numpy")
        self.names = set(self.file.keys())

    def __call__(self, name):
        if not name.startswith("model.") and "model." + name in self.names:
            name = "model." + name
        return self.file.get_tensor(name).astype(np.float32)

    def linear(self, part, name, bias=True):
        part.weight = self(name + ".weight")
        if bias:
            part.bias = self(name + ".bias")


def llama(config, weights):
    rope = config.get("rope_parameters") or {}
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        config["num_hidden_layers"], config["num_attention_heads"], activation=common_spec.Activation.SWISH,
        pre_norm=True, ffn_glu=True, rms_norm=True, rotary_dim=0, rotary_interleave=False,
        rotary_base=config.get("rope_theta", rope.get("rope_theta", 10000)),
        num_heads_kv=config["num_key_value_heads"])
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = weights("embed_tokens.weight")
    decoder.layer_norm.gamma = weights("norm.weight")
    tied = config.get("tie_word_embeddings", False)
    decoder.projection.weight = weights("embed_tokens.weight" if tied else "lm_head.weight")
    for index, layer in enumerate(decoder.layer):
        stem = f"layers.{index}."
        layer.self_attention.layer_norm.gamma = weights(stem + "input_layernorm.weight")
        layer.ffn.layer_norm.gamma = weights(stem + "post_attention_layernorm.weight")
        parts = [common_spec.LinearSpec() for _ in range(3)]
        for part, name in zip(parts, "qkv"):
            weights.linear(part, f"{stem}self_attn.{name}_proj", bias=False)
        utils.fuse_linear(layer.self_attention.linear[0], parts)
        weights.linear(layer.self_attention.linear[1], stem + "self_attn.o_proj", bias=False)
        weights.linear(layer.ffn.linear_0, stem + "mlp.gate_proj", bias=False)
        weights.linear(layer.ffn.linear_0_noact, stem + "mlp.up_proj", bias=False)
        weights.linear(layer.ffn.linear_1, stem + "mlp.down_proj", bias=False)
    return spec, config["rms_norm_eps"]


def opt(config, weights):
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        config["num_hidden_layers"], config["num_attention_heads"], activation=common_spec.Activation.RELU,
        pre_norm=True)
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = weights("decoder.embed_tokens.weight")
    decoder.projection.weight = decoder.embeddings.weight
    decoder.position_encodings.encodings = weights("decoder.embed_positions.weight")[2:]

    def norm(part, name):
        part.gamma, part.beta = weights(name + ".weight"), weights(name + ".bias")

    norm(decoder.layer_norm, "decoder.final_layer_norm")
    for index, layer in enumerate(decoder.layer):
        stem = f"decoder.layers.{index}."
        norm(layer.self_attention.layer_norm, stem + "self_attn_layer_norm")
        norm(layer.ffn.layer_norm, stem + "final_layer_norm")
        parts = [common_spec.LinearSpec() for _ in range(3)]
        for part, name in zip(parts, "qkv"):
            weights.linear(part, f"{stem}self_attn.{name}_proj")
        utils.fuse_linear(layer.self_attention.linear[0], parts)
        weights.linear(layer.self_attention.linear[1], stem + "self_attn.out_proj")
        weights.linear(layer.ffn.linear_0, stem + "fc1")
        weights.linear(layer.ffn.linear_1, stem + "fc2")
    return spec, 1e-5


def generator(folder, work):
    config = json.loads((folder / "config.json").read_text())
    makers = {"llama": llama, "opt": opt}
    if config["model_type"] not in makers:
        raise SystemExit(f"{folder}: a {config['model_type']}; only LLaMA and OPT are compared")
    spec, epsilon = makers[config["model_type"]](config, Weights(folder))
    spec.register_vocabulary([str(i) for i in range(config["vocab_size"])])
    spec.config.unk_token = spec.config.bos_token = spec.config.eos_token = "0"
    spec.config.layer_norm_epsilon = epsilon
    spec.validate()
    spec.optimize()
    (work / "ct2").mkdir()
    spec.save(str(work / "ct2"))
    return ctranslate2.Generator(str(work / "ct2"), device="cpu", compute_type="float32", inter_threads=1,
                                 intra_threads=1)


def run_quell(arguments, work, windows):
    (work / "experiment.yaml").write_text(EXPERIMENT.format(
        model=pathlib.Path(arguments.model).resolve(), text=pathlib.Path(arguments.text).resolve(),
        length=arguments.length, windows=windows))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([pathlib.Path(arguments.quell).resolve(), "run", "experiment.yaml", "--overwrite"], cwd=work,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode != 0:
        raise SystemExit(result.stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    metrics = json.loads((work / "runs/perplexity/metrics.json").read_text())
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, metrics["stages"]["float"]["perplexity"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("quell", "model", "text"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--windows", type=int, default=128)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8, help="windows in a batch of CTranslate2")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder = pathlib.Path(arguments.model)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = pathlib.Path(arguments.text).read_text(encoding="utf-8-sig")
    ids = tokenizer.encode(text[:16 * arguments.windows * arguments.length], add_special_tokens=False).ids
    count, length = arguments.windows, arguments.length
    windows = [[str(i) for i in ids[at * length:(at + 1) * length]] for at in range(count)]
    own, theirs = [], []
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        network = generator(folder, work)
        network.score_batch(windows[:arguments.batch])  # warm
        for _ in range(arguments.rounds):
            many, perplexity = run_quell(arguments, work, count)
            one, _ = run_quell(arguments, work, 1)
            own.append((count - 1) * length / (many - one))
            start = time.process_time()
            losses = []
            for first in range(0, count, arguments.batch):
                for result in network.score_batch(windows[first:first + arguments.batch]):
                    losses += result.log_probs
            theirs.append(count * length / (time.process_time() - start))
            found = math.exp(-sum(losses) / len(losses))
            if abs(found / perplexity - 1) > 1e-4:
                raise SystemExit(f"perplexity {perplexity} in quell, {found} in CTranslate2")
    ratios = [a / b for a, b in zip(own, theirs)]
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    print(f"{model.group(1) if model else 'processor unknown'}; perplexity {perplexity:.4f} in both")
    print(f"quell {statistics.median(own):.0f} tokens/s, CTranslate2 {statistics.median(theirs):.0f}: "
          f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})")


main()
