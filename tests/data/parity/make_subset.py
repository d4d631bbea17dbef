#!/usr/bin/env python3
"""Takes the parity data of this folder out of the full goldens (standard library only).

usage: make_subset.py GOLDENS   # the folder with outlier_suppression/ and qualcomm/
"""
import json
import pathlib
import shutil
import struct
import sys

HERE = pathlib.Path(__file__).parent


def read_tensors(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (entry, data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def write_tensors(path, tensors):
    header, data = {}, b""
    for name, (entry, content) in tensors.items():
        header[name] = dict(dtype=entry["dtype"], shape=entry["shape"],
                            data_offsets=[len(data), len(data) + len(content)])
        data += content
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_json(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")).replace("},", "},\n").replace("],", "],\n") + "\n")


def copy(source, target, *names):
    target.mkdir(exist_ok=True)
    for name in names:
        shutil.copyfile(source / name, target / name)


def outlier_suppression(source, target, learned=True):
    copy(source, target, "config.json", "model.safetensors", "inputs.safetensors",
         "gamma_migration.safetensors")
    if learned:
        copy(source, target, "learn_scale.json", "learn_scale.safetensors")
    methods = [f"{m}/b{b}" for m in ("minmax", "quantile", "mse") for b in (8, 6, 4)]
    methods += ["minmax_tensorrt/b6", "twc_fine_nogamma/b6"]
    logits = read_tensors(source / "ptq_logits.safetensors")
    kept = read_tensors(source / "fp_logits.safetensors")
    kept.update({k: v for k, v in logits.items() if k.rsplit("/", 1)[0] in methods})
    kept.update({k: v for k, v in logits.items() if k in [f"twc_fine_gamma/b{b}/logits" for b in (8, 6, 4)]})
    coarse = "twc_coarse_gamma_fixed/b6/logits"
    kept.update({k: v for k, v in logits.items() if k == coarse})
    write_tensors(target / "logits.safetensors", kept)
    ptq = json.load(open(source / "ptq.json"))
    searches = [f"twc_fine_gamma/b{b}" for b in (8, 6, 4)]
    searches += ["twc_fine_nogamma/b6", "twc_fine_gamma_lsq_symmetric/b6", "twc_coarse_gamma_fixed/b6"]
    columns = ("step", "iters", "loss_of_ratio", "best_index", "coarse")
    write_json(target / "token_wise_clipping.json",
               {m: {k: ptq[m][k] for k in columns} for m in searches if m in ptq})
    write_json(target / "ptq.json", {m: {k: ptq[m][k] for k in ("final", "coarse") if k in ptq[m]}
                                     for m in methods if m in ptq})
    observers = json.load(open(source / "act_observers.json"))
    write_json(target / "act_observers.json",
               {k: v for k, v in observers.items()
                if k.startswith(("gm0/MinMax/", "gm0/AvgMinMax/"))})
    nodes = json.load(open(source / "nodes.json"))["nodes"]
    write_json(target / "nodes.json", {b: [n["name"] for n in nodes[b]] for b in nodes})
    weights = read_tensors(source / "weight_observers.safetensors")
    write_tensors(target / "weight_scales.safetensors",
                  {k: v for k, v in weights.items() if k.startswith("gm0/MinMax/")})
    if (source / "node_inputs_fp.safetensors").exists():
        write_tensors(target / "node_inputs.safetensors",
                      read_tensors(source / "node_inputs_fp.safetensors"))


def bart(source, target):
    """A BART: ranges as they were given, and the logits that follow from them."""
    copy(source, target, "config.json", "model.safetensors", "inputs.safetensors",
         "gamma_migration.safetensors")
    nodes = json.load(open(source / "nodes.json"))["nodes"]
    write_json(target / "nodes.json", {b: [n["name"] for n in nodes[b]] for b in nodes})
    ptq = json.load(open(source / "ptq.json"))
    methods = [f"{m}/b{b}" for m in ("minmax", "quantile", "mse", "twc_fine_gamma") for b in (8, 6, 4)]
    methods = [m for m in methods + ["minmax_tensorrt/b6", "twc_fine_nogamma/b6"] if m in ptq]
    write_json(target / "ptq.json", {m: {"final": ptq[m]["final"]} for m in methods})
    learned = [f"twc_fine_gamma/b{b}" for b in (8, 6, 4)]
    write_json(target / "coarse.json", {m: {"coarse": ptq[m]["coarse"]} for m in learned})
    full = json.load(open(source / "learn_scale.json"))
    write_json(target / "learn_scale.json", {m: {k: full[m][k] for k in ("lr_of_step", "loss_of_step", "order")}
                                             for m in learned})
    write_tensors(target / "learn_scale.safetensors",
                  {k: v for k, v in read_tensors(source / "learn_scale.safetensors").items()
                   if k.rsplit("/", 1)[0] in learned})
    kept = read_tensors(source / "fp_logits.safetensors")
    kept.update({k: v for k, v in read_tensors(source / "ptq_logits.safetensors").items()
                 if k in [m + "/logits" for m in methods] or "generate_" in k})
    write_tensors(target / "logits.safetensors", kept)
    weights = read_tensors(source / "weight_observers.safetensors")
    write_tensors(target / "weight_scales.safetensors",
                  {k: v for k, v in weights.items() if k.startswith("gm1/MinMax/b6/sym/ch0/")})


def qualcomm(source, target):
    copy(source, target, "config.json", "model.safetensors", "inputs.safetensors",
         "run_w8a8_minmax.safetensors", "run_w8a8_perchannel.safetensors")
    for run in ("w8a8_minmax", "w8a8_running4_m05", "w8a8_syma", "w8a8_perchannel", "mp_y1_16_wC4",
                "w8a8_mselogits", "mp_xhyPC16_mselogits", "w4a32_mse", "w8a32_emb4"):
        full = json.load(open(source / f"run_{run}.json"))
        write_json(target / f"run_{run}.json", full)
        copy(source, target, f"run_{run}.safetensors")


def adaround(source, target):
    """The detailed layers; the long variants without what other files or nobody here reads."""
    target.mkdir(exist_ok=True)
    for run in ("w4a32", "w4a32_init_mse", "w4a32_init_mse_out_asym", "w4a32_tempdecay"):
        full = json.load(open(source / f"adaround_{run}.json"))
        tensors = read_tensors(source / f"adaround_{run}.safetensors")
        layers = {k[:-len(".batch_idx")] for k in tensors if k.endswith(".batch_idx")}
        kept = {k: v for k, v in tensors.items()
                if k.rsplit(".", 1)[0] in layers and ".alpha_before" not in k}
        write_tensors(target / f"adaround_{run}.safetensors", kept)
        names = [q for q in full["quantizers"] if q["name"].rsplit(".", 1)[0] in layers]
        write_json(target / f"adaround_{run}.json",
                   {"iters": full["iters"], "lr": full["lr"], "adaround": full["adaround"],
                    "layers": {k: full["layers"][k] for k in sorted(layers)}, "quantizers": names})


def qualcomm_groups(source, target):
    """Runs with groups of features."""
    copy(source, target, "config.json", "model.safetensors", "inputs.safetensors")
    for run in ("peg_xhy_k6_perm", "peg_xhy_k6_permsharedh", "peg_xhy_k3_perm", "peg_all_k3",
                "peg_all_k3_perm", "peg_xhy_perm_noflag", "per_embd"):
        write_json(target / f"run_{run}.json", json.load(open(source / f"run_{run}.json")))
        copy(source, target, f"run_{run}.safetensors")


def qualcomm_mobilebert(source, target):
    """All runs, without the values around every node."""
    copy(source, target, "config.json", "model.safetensors", "inputs.safetensors")
    for run in ("w8a8_minmax", "w32a8", "w8a32", "w4a32_minmax"):
        write_json(target / f"run_{run}.json", json.load(open(source / f"run_{run}.json")))
        tensors = read_tensors(source / f"run_{run}.safetensors")
        write_tensors(target / f"run_{run}.safetensors",
                      {k: v for k, v in tensors.items() if not k.startswith("trace.")})


def qualcomm_qat(source, target):
    """What is known of steps 0 and 1; later ones depend on the last bit."""
    target.mkdir(exist_ok=True)
    for run in ("w8a8_learn", "w4a8_learn_emb2", "w8a8_perch_fixw", "w8a8_running_train"):
        full = json.load(open(source / f"qat_{run}.json"))
        kept = {k: full[k] for k in ("cmd", "range_parameters")}
        kept |= {k: full[k][:2] for k in ("log", "ranges_train_mode") if k in full}
        write_json(target / f"qat_{run}.json", kept)
        tensors = read_tensors(source / f"qat_{run}.safetensors")
        write_tensors(target / f"qat_{run}.safetensors",
                      {k: v for k, v in tensors.items()
                       if k.startswith(("before.", "grad0.", "ranges_after_step.0", "logits_step.0",
                                        "logits_step.1", "logits_before."))})


def observers(source, target):
    """All single tensors but the largest."""
    target.mkdir(exist_ok=True)
    large = "hist_large"
    tensors = read_tensors(source / "observer_inputs.safetensors")
    write_tensors(target / "inputs.safetensors",
                  {k: v for k, v in tensors.items() if not k.startswith(large)})
    full = json.load(open(source / "observers.json"))
    write_json(target / "observers.json",
               {part: {k: v for k, v in full[part].items() if k != large} for part in full})
    table = json.load(open(source / "scalars.json"))["token_quantile"]
    rows = [[row[i] for i in (0, 1, 4)] for row in table["rows"]]
    write_json(target / "token_quantile.json",
               {"columns": ["tokens", "ratio", "quantile of 0..tokens-1"], "rows": rows})


def outlier_suppression_plus(source, target):
    """What a group's search saw and found, what was migrated, and the logits for given ranges."""
    target.mkdir(exist_ok=True)
    copy(source, target, "observers.json", "observers.safetensors")
    runs = {"opt_s0": ("int8", "int6", "int6_token", "int4_group16"),
            "bloom_s0": ("int8", "int6", "int4_token_bmm"),
            "llama_s0": ("int6_token", "int6_token_disable")}
    for model, configs in runs.items():
        copy(source / model, target / model, "config.json", "model.safetensors")
        write_tensors(target / model / "inputs.safetensors",
                      {k: v for k, v in read_tensors(source / model / "inputs.safetensors").items()
                       if k.startswith(("input_ids", "attention_mask", "fp_logits"))})
        for run in configs:
            full = json.load(open(source / model / f"run_{run}.json"))
            write_json(target / model / f"run_{run}.json", {
                "quant": full["config"]["quant"], "groups": full["groups"],
                "nodes": [{k: n[k] for k in ("name", "fake_quant_enabled")} for n in full["nodes"]]})
            kept = {k: v for k, v in read_tensors(source / model / f"run_{run}.safetensors").items()
                    if k.startswith(("mig.", "migrated.", "fp_logits_migrated", "q_logits.", "node.", "ln."))
                    and not k.startswith("node.") or k.endswith((".scale", ".zero_point"))}
            write_tensors(target / model / f"run_{run}.safetensors", kept)


def quantization_aware_training(source, target):
    copy(source, target, "config.json", "model.safetensors", "inputs.safetensors")
    full = json.load(open(source / "qat.json"))
    write_json(target / "qat.json", {k: full[k] for k in (
        "order_act", "order_weight", "lr_of_step", "grad_norm_of_step", "loss_of_step")})
    tensors = read_tensors(source / "qat.safetensors")
    kept = {k: v for k, v in tensors.items()
            if k.startswith(("steps.", "before_training.", "final.logits"))}
    for name in [name for name in kept if name.startswith("steps.")]:
        entry, data = kept[name]
        row = len(data) // entry["shape"][0]
        kept[name] = dict(entry, shape=[2, *entry["shape"][1:]]), data[:row] + data[-row:]
    write_tensors(target / "qat.safetensors", kept)


def main():
    goldens = pathlib.Path(sys.argv[1])
    outlier_suppression(goldens / "outlier_suppression/bert_cls", HERE / "outlier_suppression")
    outlier_suppression(goldens / "outlier_suppression/roberta_cls", HERE / "outlier_suppression_roberta")
    outlier_suppression(goldens / "outlier_suppression/bert_qa", HERE / "outlier_suppression_qa")
    for case in ("cls", "qa", "gen"):
        bart(goldens / f"outlier_suppression/bart_{case}", HERE / f"outlier_suppression_bart_{case}")
    observers(goldens / "outlier_suppression/units", HERE / "observers")
    outlier_suppression_plus(goldens / "outlier_suppression_plus", HERE / "outlier_suppression_plus")
    quantization_aware_training(goldens / "outlier_suppression/qat_bert", HERE / "qat_bert")
    qualcomm(goldens / "qualcomm/bert_s0", HERE / "qualcomm")
    adaround(goldens / "qualcomm/bert_s0", HERE / "qualcomm_adaround")
    qualcomm_groups(goldens / "qualcomm/bert_h48", HERE / "qualcomm_h48")
    qualcomm_mobilebert(goldens / "qualcomm/mobilebert_s0", HERE / "qualcomm_mobilebert")
    qualcomm_qat(goldens / "qualcomm/bert_s0", HERE / "qualcomm_qat")


main()
