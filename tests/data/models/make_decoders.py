#!/usr/bin/env python3
"""Small random decoders with the logits of Hugging Face transformers, one per variant.

Needs torch, transformers and safetensors. Made with torch 2.11.0 and transformers 5.24.0. Every
sequence runs alone, in a new model: "dynamic" rotary positions depend on what a model saw before.
"""
import copy
import json
import pathlib

import torch
import transformers as hf
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
SEQUENCES, LENGTH, VOCABULARY, HIDDEN, LAYERS, FFN = 6, 14, 48, 32, 2, 48


def llama(**options):
    return hf.LlamaConfig(**{**dict(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=LAYERS,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=40), **options})


def opt(**options):
    return hf.OPTConfig(**{**dict(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, ffn_dim=FFN, num_hidden_layers=LAYERS,
        num_attention_heads=4, max_position_embeddings=40), **options})


def gpt2(**options):
    return hf.GPT2Config(**{**dict(
        vocab_size=VOCABULARY, n_embd=HIDDEN, n_layer=LAYERS, n_head=4, n_positions=40), **options})


def bloom(**options):
    return hf.BloomConfig(**{**dict(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, n_layer=LAYERS, n_head=4), **options})


def neox(**options):
    return hf.GPTNeoXConfig(**{**dict(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=LAYERS,
        num_attention_heads=4, max_position_embeddings=40, attention_dropout=0.0), **options})


LLAMA3 = dict(rope_type="llama3", rope_theta=100.0, factor=4.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=32)
CONFIGS = {
    "llama": llama(num_key_value_heads=2, head_dim=12),
    "llama_biases": llama(attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                          hidden_act="gelu"),
    "llama_linear": llama(rope_parameters=dict(rope_type="linear", rope_theta=500.0, factor=2.5)),
    "llama_dynamic": llama(max_position_embeddings=8, rope_parameters=dict(
        rope_type="dynamic", rope_theta=1000.0, factor=2.0)),
    "llama3": llama(num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
                    rope_parameters=LLAMA3),
    "opt": opt(),
    "opt_post_norm": opt(do_layer_norm_before=False, word_embed_proj_dim=20),
    "opt_no_biases": opt(enable_bias=False, _remove_final_layer_norm=True,
                         activation_function="gelu", tie_word_embeddings=False),
    "gpt2": gpt2(),
    "gpt2_inner": gpt2(n_inner=FFN, scale_attn_weights=False, tie_word_embeddings=False),
    "bloom": bloom(),
    "bloom_7_heads": bloom(hidden_size=28, n_head=7),
    "gpt_neox": neox(),
    "gpt_neox_sequential": neox(use_parallel_residual=False, attention_bias=False,
                                tie_word_embeddings=True,
                                rope_parameters=dict(rope_theta=300.0, rope_type="default",
                                                     partial_rotary_factor=1.0)),
}


def old_config(name, config):
    """The same as releases before 5 write it."""
    rope = config.pop("rope_parameters", None)
    if name == "llama_linear":
        config["rope_theta"] = rope["rope_theta"]
        config["rope_scaling"] = {"type": "linear", "factor": rope["factor"]}
    elif name == "gpt_neox":
        config["rotary_emb_base"] = rope["rope_theta"]
        config["rotary_pct"] = rope["partial_rotary_factor"]
    elif name == "bloom_7_heads":
        config["n_embed"] = config.pop("hidden_size")
        config["num_attention_heads"] = config.pop("n_head")
    return config


def make(name, config):
    torch.manual_seed(7)
    config._attn_implementation = "eager"
    model = hf.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    sharded = name == "llama3"
    if sharded:  # parameters alone: to() would round the rotary frequencies too
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.bfloat16).float()
    lengths = torch.randint(3, LENGTH + 1, (SEQUENCES,))
    lengths[0] = LENGTH
    mask = (torch.arange(LENGTH) < lengths[:, None]).long()
    ids = torch.randint(5, VOCABULARY, (SEQUENCES, LENGTH)) * mask
    with torch.no_grad():
        logits = torch.cat([copy.deepcopy(model)(input_ids=ids[i:i + 1, :lengths[i]]).logits[0]
                            for i in range(SEQUENCES)])
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    if sharded:
        model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="16KB")
        (folder / "generation_config.json").unlink(missing_ok=True)
    else:
        model.config.architectures = [type(model).__name__]
        written = model.config.to_dict()
        if name in ("llama_linear", "gpt_neox", "bloom_7_heads"):
            written = old_config(name, written)
        (folder / "config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
        tensors = {k: v.contiguous() for k, v in model.state_dict().items()
                   if not (k == "lm_head.weight" and config.tie_word_embeddings)}
        if name == "gpt_neox":
            tensors["embed_out.weight"] = tensors.pop("lm_head.weight")
        save_file(tensors, folder / "model.safetensors")
    save_file({"b4.input_ids": ids, "b4.attention_mask": mask}, folder / "inputs.safetensors")
    save_file({"fp.token_logits": logits}, folder / "logits.safetensors")


for name, config in CONFIGS.items():
    make(name, config)
