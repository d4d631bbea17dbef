"""Makes the tiny models here and keys.json: what Hugging Face transformers computes for each key.

usage: make_keys.py [--check]      (needs torch, transformers 5.24 and safetensors)

For every (key, value) the folder is loaded as users do, with from_pretrained, and either the logits
of three sequences (of a language model: behind their last tokens) or the ids that generate() writes
are kept; "refused" where the library refuses the folder, or would compute with made-up weights. With --check nothing is written: it compares with
the file that is there.
"""
import argparse
import copy
import json
import math
import os
import pathlib
import sys
import tempfile
import warnings

os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
try:
    import safetensors.torch
    import torch
    import transformers
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)

warnings.filterwarnings("ignore")
transformers.utils.logging.set_verbosity(transformers.utils.logging.CRITICAL)
transformers.utils.logging.disable_progress_bar()
HERE = pathlib.Path(__file__).parent
REMOVED = "(removed)"

# Widths that the usual numbers of heads divide, so that a folder without that key works.
ENCODER = dict(vocab_size=24, hidden_size=48, num_hidden_layers=1, num_attention_heads=4, intermediate_size=12,
               max_position_embeddings=14, initializer_range=0.3)
# Of language models. Two layers, because some keys leave the first one as it is.
DECODER = dict(vocab_size=24, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=12,
               max_position_embeddings=14, initializer_range=0.3)
SIZES = {
    "bert": (transformers.BertConfig, ENCODER),
    "roberta": (transformers.RobertaConfig, ENCODER),
    "electra": (transformers.ElectraConfig, ENCODER | dict(embedding_size=48)),
    "mobilebert": (transformers.MobileBertConfig,
                   ENCODER | dict(embedding_size=24, intra_bottleneck_size=24, num_feedforward_networks=2)),
    "distilbert": (transformers.DistilBertConfig,
                   dict(vocab_size=24, dim=48, n_layers=1, n_heads=4, hidden_dim=12, max_position_embeddings=14,
                        initializer_range=0.3)),
    "bart": (transformers.BartConfig,
             dict(vocab_size=24, d_model=48, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
                  decoder_attention_heads=4, encoder_ffn_dim=12, decoder_ffn_dim=12, max_position_embeddings=14,
                  init_std=0.3, num_labels=2)),
    "writer": (transformers.BartConfig,
               dict(vocab_size=40, d_model=24, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                    decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=40,
                    init_std=0.5)),
    "llama": (transformers.LlamaConfig, DECODER | dict(num_key_value_heads=2)),
    "opt": (transformers.OPTConfig,
            dict(vocab_size=24, hidden_size=48, word_embed_proj_dim=48, num_hidden_layers=2, num_attention_heads=4, ffn_dim=12,
                 max_position_embeddings=14, init_std=0.3)),
    "gpt2": (transformers.GPT2Config,
             dict(vocab_size=24, n_embd=48, n_layer=2, n_head=4, n_inner=12, n_positions=14, initializer_range=0.3)),
    "bloom": (transformers.BloomConfig, dict(vocab_size=24, hidden_size=48, n_layer=2, n_head=4, initializer_range=0.3)),
    # Heads of 16 features, of which a quarter turns.
    "gpt_neox": (transformers.GPTNeoXConfig, DECODER | dict(num_attention_heads=3)),
}
LANGUAGE_MODELS = ("llama", "opt", "gpt2", "bloom", "gpt_neox")
SEQUENCES = [[0, 5, 9, 13, 7, 2], [0, 11, 3, 2], [0, 20, 21, 22, 23, 6, 8, 10, 2]]
SOURCES = [[0, 5, 9, 13, 7, 30, 31, 2], [0, 11, 3, 2], [0, 20, 21, 22, 23, 6, 8, 10, 39, 2], [0, 17, 18, 19, 17, 18, 2],
           [0, 33, 34, 4, 35, 2]]

ACTIVATIONS = list(transformers.activations.ACT2CLS) + ["no_such_function"]
FLAGS = [True, False, None]
# Whatever has a name in the library's classes: each is tried with values of its kind.
COMMON_VALUES = {
    "num_labels": [2, 3], "id2label": [{"0": 0, "1": 1}, {"0": "a", "1": "b"}, {"0": "a", "1": "b", "2": "c"}],
    "label2id": [{"a": 0, "b": 1}, {"a": 0, "b": 1, "c": 2}], "problem_type": ["regression", "multi_label_classification"],
    "dtype": ["float32"], "torch_dtype": ["float32"], "pruned_heads": [{}, {"0": [1]}], "chunk_size_feed_forward": [0, 3],
    "tie_encoder_decoder": FLAGS, "add_cross_attention": FLAGS, "is_decoder": FLAGS, "is_encoder_decoder": FLAGS,
    "tie_word_embeddings": FLAGS, "use_cache": [True, False], "output_attentions": FLAGS, "output_hidden_states": FLAGS,
    "output_past": [True], "return_dict": [True], "torchscript": FLAGS, "gradient_checkpointing": [False],
    "cross_attention_hidden_size": [48], "tokenizer_class": ["BertTokenizer"], "prefix": ["a "],
    "task_specific_params": [{"summarization": {"num_beams": 4}}], "bos_token_id": [0, 3, None],
    "eos_token_id": [2, 6, None, REMOVED], "sep_token_id": [2], "pad_token_id": [0, 1, 3, None, REMOVED],
    "finetuning_task": ["sst-2"], "transformers_version": ["4.0.0"], "_name_or_path": ["x"], "_num_labels": [5],
    "decoder_start_token_id": [0, 2, 5, REMOVED], "forced_eos_token_id": [2, 5], "layerdrop": [0.5],
    "position_embedding_type": ["absolute", "relative_key", "relative_key_query"], "max_length": [5], "num_beams": [4],
    "do_sample": [True], "early_stopping": [True], "temperature": [0.5], "hidden_dropout": [0.1], "type_vocab_size": [REMOVED],
    "vocab_size": [REMOVED, 25], "max_position_embeddings": [REMOVED, 15], "embedding_size": [REMOVED, 24],
    "layer_norm_eps": [1e-12, 1e-5, 0.1, 0.0, REMOVED], "rms_norm_eps": [0.1], "layer_norm_epsilon": [0.1],
}
ENCODER_VALUES = COMMON_VALUES | {
    "hidden_act": ACTIVATIONS + [REMOVED], "num_attention_heads": [2, 12, 5, REMOVED], "hidden_size": [24, REMOVED],
    "num_hidden_layers": [2, REMOVED], "intermediate_size": [24, REMOVED], "dim": [24], "activation": ["relu"],
    "hidden_dropout_prob": [0.5], "attention_probs_dropout_prob": [0.5], "classifier_dropout": [0.5, None],
    "initializer_range": [0.1], "summary_type": ["mean"], "summary_use_proj": [False], "summary_activation": ["relu"],
    "summary_last_dropout": [0.3],
}
MOBILEBERT_VALUES = ENCODER_VALUES | {
    "trigram_input": FLAGS + [REMOVED], "use_bottleneck": FLAGS + [REMOVED], "intra_bottleneck_size": [12, 48, REMOVED],
    "use_bottleneck_attention": FLAGS + [REMOVED], "key_query_shared_bottleneck": FLAGS + [REMOVED],
    "num_feedforward_networks": [2, 3, 0, REMOVED], "normalization_type": ["layer_norm", "no_norm", "rms_norm", REMOVED],
    "classifier_activation": FLAGS + [REMOVED], "true_hidden_size": [24, 12, 48], "embedding_size": [48, REMOVED],
}
VALUES = {
    "bert": ENCODER_VALUES, "roberta": ENCODER_VALUES, "electra": ENCODER_VALUES,
    "distilbert": COMMON_VALUES | {
        "activation": ACTIVATIONS + [REMOVED], "hidden_act": ["relu"], "n_heads": [2, 12, 5, REMOVED],
        "num_attention_heads": [2, 12], "dim": [24, REMOVED], "hidden_size": [48, 24], "n_layers": [2, REMOVED],
        "num_hidden_layers": [1, 2], "hidden_dim": [24, REMOVED], "sinusoidal_pos_embds": FLAGS, "dropout": [0.5],
        "attention_dropout": [0.5], "qa_dropout": [0.5], "seq_classif_dropout": [0.5], "tie_weights_": [True],
        "initializer_range": [0.1], "intermediate_size": [24],
    },
    "bart": COMMON_VALUES | {
        "activation_function": ACTIVATIONS + [REMOVED], "hidden_act": ["relu"], "scale_embedding": [True, False, REMOVED],
        "encoder_attention_heads": [2, 16, 5, REMOVED], "decoder_attention_heads": [2, 16, 5, REMOVED],
        "num_attention_heads": [2, 12], "d_model": [24, REMOVED], "hidden_size": [48, 24], "encoder_layers": [2, REMOVED],
        "decoder_layers": [2, REMOVED], "num_hidden_layers": [1, 2], "encoder_ffn_dim": [24, REMOVED],
        "decoder_ffn_dim": [24, REMOVED], "dropout": [0.5], "attention_dropout": [0.5], "activation_dropout": [0.5],
        "classifier_dropout": [0.5], "classif_dropout": [0.5], "encoder_layerdrop": [0.5], "decoder_layerdrop": [0.5],
        "init_std": [0.1], "normalize_before": FLAGS, "normalize_embedding": FLAGS, "add_final_layer_norm": FLAGS,
        "static_position_embeddings": FLAGS, "extra_pos_embeddings": [2], "add_bias_logits": FLAGS,
        "layer_norm_eps": [0.1], "decoder": [{"num_beams": 2}],
    },
    "mobilebert": MOBILEBERT_VALUES,
}

EPSILONS = [1e-12, 1e-5, 0.1, 0.0, REMOVED]
LLAMA3 = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8}
SCALINGS = [
    {"factor": 2.0}, {"type": "default"}, {"rope_type": "default"}, {"type": "linear", "factor": 2.0},
    {"rope_type": "linear", "factor": 2.5}, {"rope_type": "linear"}, {"rope_type": "linear", "factor": 0.5},
    {"type": "dynamic", "factor": 2.0}, {"rope_type": "dynamic", "factor": 4}, {"rope_type": "llama3"} | LLAMA3, {"type": "llama3"} | LLAMA3,
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8},
    {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0] * 6, "long_factor": [2.0] * 6, "original_max_position_embeddings": 8},
    {"rope_type": "proportional", "factor": 2.0}, {"rope_type": "no_such_kind"},
]
ROPE = {
    "rope_theta": [100, 100.0, 1e6, 1.0], "partial_rotary_factor": [0.5, 1.0, 0.25], "rope_scaling": [None, {}] + SCALINGS,
    "rope_parameters": [None, {}, {"rope_theta": 100.0}, {"rope_theta": 100.0, "partial_rotary_factor": 0.5}]
                       + [{"rope_theta": 300.0} | scaling for scaling in SCALINGS] + [{"full_attention": {"rope_theta": 100.0}}],
    "rope_interleaved": FLAGS,
    # Several at once.
    "": [{"rope_theta": 100.0, "rope_scaling": scaling} for scaling in (None, {"type": "linear", "factor": 2.0})]
        + [{"rope_theta": 100.0, "rope_scaling": {"rope_type": "llama3"} | LLAMA3},
           {"rope_theta": 100.0, "rope_parameters": {"rope_theta": 300.0, "rope_type": "default"}},
           {"rope_theta": 100.0, "rope_parameters": {"rope_type": "linear", "factor": 2.0}},
           {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_theta": 300.0, "rope_type": "default"}},
           {"partial_rotary_factor": 0.5, "rope_parameters": {"rope_theta": 300.0, "rope_type": "default"}},
           {"max_position_embeddings": 6, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
           {"max_position_embeddings": 6, "rope_theta": 50.0, "rope_scaling": {"rope_type": "dynamic", "factor": 3.0}},
           {"max_position_embeddings": 6, "rope_parameters": {"rope_theta": 50.0, "rope_type": "dynamic", "factor": 3.0}},
           {"max_position_embeddings": 16, "rope_parameters":
                {"rope_theta": 50.0, "rope_type": "dynamic", "factor": 3.0, "original_max_position_embeddings": 6}}],
}
LANGUAGE_VALUES = COMMON_VALUES | {"hidden_size": [24, REMOVED], "num_hidden_layers": [1, 3, REMOVED], "attention_dropout": [0.5],
                                   "initializer_range": [0.1], "layerdrop": [0.5], "hidden_act": ["relu"],
                                   "activation_function": ["relu"], "intermediate_size": [24], "hidden_dropout": [0.5],
                                   "scale_embedding": FLAGS, "pretraining_tp": [1, 2], "sliding_window": [2], "layer_types": [["full_attention"] * 2]}
VALUES |= {
    "llama": LANGUAGE_VALUES | ROPE | {
        "num_attention_heads": [2, 6, 5, REMOVED], "num_key_value_heads": [1, 4, 3, None, REMOVED], "head_dim": [12, 6, 16, None, REMOVED],
        "intermediate_size": [24, REMOVED], "hidden_act": ACTIVATIONS + [REMOVED], "rms_norm_eps": EPSILONS, "attention_bias": FLAGS,
        "mlp_bias": FLAGS,
    },
    "opt": LANGUAGE_VALUES | {
        "num_attention_heads": [2, 12, 5, REMOVED], "ffn_dim": [24, REMOVED], "activation_function": ACTIVATIONS + [REMOVED],
        "do_layer_norm_before": FLAGS + [REMOVED], "_remove_final_layer_norm": FLAGS + [REMOVED], "word_embed_proj_dim": [24, 48, None, REMOVED],
        "enable_bias": FLAGS + [REMOVED], "layer_norm_elementwise_affine": FLAGS, "dropout": [0.5], "activation_dropout": [0.5],
        "init_std": [0.1], "num_key_value_heads": [2],
    },
    "gpt2": LANGUAGE_VALUES | {
        "n_embd": [24, REMOVED], "hidden_size": [48, 24], "n_layer": [1, 3, REMOVED], "num_hidden_layers": [1, 2, 3],
        "n_head": [2, 12, 5, REMOVED], "num_attention_heads": [2, 12, 5], "n_positions": [15, REMOVED], "max_position_embeddings": [14, 15],
        "n_ctx": [5], "n_inner": [24, None, REMOVED], "activation_function": ACTIVATIONS + [REMOVED], "layer_norm_epsilon": EPSILONS,
        "scale_attn_weights": FLAGS, "scale_attn_by_inverse_layer_idx": FLAGS, "reorder_and_upcast_attn": FLAGS, "resid_pdrop": [0.5],
        "embd_pdrop": [0.5], "attn_pdrop": [0.5], "summary_type": ["mean"], "summary_use_proj": [False], "summary_activation": ["relu"],
        "summary_proj_to_labels": [False], "summary_first_dropout": [0.5],
    },
    "bloom": LANGUAGE_VALUES | {
        "n_embed": [48, 24], "n_layer": [1, 3, REMOVED], "num_hidden_layers": [1, 2, 3], "n_head": [2, 3, 12, 5, REMOVED],
        "num_attention_heads": [2, 12, 5], "layer_norm_epsilon": EPSILONS, "apply_residual_connection_post_layernorm": FLAGS,
        "slow_but_exact": FLAGS, "seq_length": [2048, REMOVED], "masked_softmax_fusion": FLAGS, "bias_dropout_fusion": FLAGS,
        "attention_softmax_in_fp32": FLAGS, "skip_bias_add": FLAGS, "skip_bias_add_qkv": FLAGS, "unk_token_id": [0], "n_inner": [12],
        "offset_alibi": [2], "max_position_embeddings": [14],
    },
    "gpt_neox": LANGUAGE_VALUES | ROPE | {
        "num_attention_heads": [6, 2, 5, REMOVED], "intermediate_size": [24, REMOVED], "hidden_act": ACTIVATIONS + [REMOVED],
        "layer_norm_eps": EPSILONS, "use_parallel_residual": FLAGS + [REMOVED], "attention_bias": FLAGS + [REMOVED],
        "rotary_pct": [0.5, 1.0], "rotary_emb_base": [100, 100.0], "classifier_dropout": [0.5], "num_key_value_heads": [2],
    },
}

# Settings of generate(): each key is tried on top of each base.
BASES = {
    "greedy": {},
    "beams": {"num_beams": 4, "early_stopping": True},
    "three": {"num_beams": 3, "num_return_sequences": 3, "length_penalty": 2.0, "no_repeat_ngram_size": 2},
}
COMMON_GENERATION = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "decoder_start_token_id": 2, "max_length": 14}
GENERATION_VALUES = {
    "": [None],
    "max_length": [2, 5, 30, 1, None], "max_new_tokens": [1, 6, 25], "min_length": [8, 14, 20], "min_new_tokens": [0, 7, 12],
    "num_beams": [1, 2, 6], "num_return_sequences": [1, 2], "early_stopping": [True, False, "never"],
    "length_penalty": [0.0, 0.5, -1.0, 3.0], "repetition_penalty": [0.5, 1.2, 1.7, 5.0, -1.0],
    "encoder_repetition_penalty": [0.4, 1.5, 3.0], "no_repeat_ngram_size": [1, 2, 3], "encoder_no_repeat_ngram_size": [1, 2, 3],
    "bad_words_ids": [[[7], [9], [12]], [[2]], [[17, 18], [30], [5, 9, 13]], [[26, 39], [39, 26], [11, 11], [33], [35, 4]], []],
    "sequence_bias": [[[[7], 5.0], [[9], -5.0]], [[[17, 18], 9.0], [[30], 2.5], [[4], 2.0], [[12, 4], 3.5], [[33, 12, 4], 1.5]],
                      [[[2], 4.0]], [[[2], -8.0]], [[[5], 1.0], [[5], 6.0]]],
    "suppress_tokens": [[7, 12, 20, 25, 30, 33], [2], [-1], [39, 38, 37, 26, 11, 4, 100], []],
    "begin_suppress_tokens": [[2, 26, 11], [0], list(range(3, 30)), []],
    "exponential_decay_length_penalty": [[2, 1.2], [0, 1.05], [5, 3.0], [1, 0.8], [-2, 1.1]],
    "forced_bos_token_id": [0, 9, None], "forced_eos_token_id": [2, 5, [2, 5], None], "remove_invalid_values": [True, False],
    "renormalize_logits": [True, False], "eos_token_id": [[2], [2, 9, 14, 19, 24, 29], 7, [26, 11], None],
    "pad_token_id": [0, 2, None], "bos_token_id": [5, None], "decoder_start_token_id": [0, 7, None, [2], REMOVED],
    "force_bos_token_to_be_generated": [True, False], "do_sample": [True, False], "temperature": [0.5], "top_k": [0, 5], "top_p": [0.5],
    "min_p": [0.1], "top_h": [0.5], "typical_p": [0.5], "epsilon_cutoff": [0.001], "eta_cutoff": [0.001], "penalty_alpha": [0.6],
    "num_beam_groups": [1, 2], "diversity_penalty": [0.5], "constraints": [[1]], "force_words_ids": [[[5]]], "dola_layers": ["low"],
    "guidance_scale": [1, 2.0], "watermarking_config": [{"greenlist_ratio": 0.5, "bias": 5.0}], "token_healing": [True, False],
    "stop_strings": ["a"], "max_time": [100.0], "prompt_lookup_num_tokens": [3], "assistant_early_exit": [1],
    "use_mtp": [False, True], "is_assistant": [False, True], "num_assistant_tokens": [5], "num_assistant_tokens_schedule": ["heuristic"],
    "assistant_confidence_threshold": [0.9], "assistant_lookbehind": [3], "target_lookbehind": [3],
    "assistant_ensemble_weight": [0.5], "max_matching_ngram_size": [2], "speculation_type": ["dflash"],
    "cache_implementation": ["dynamic", "static", "quantized"], "cache_config": [{"nbits": 4}], "use_cache": [True, False],
    "low_memory": [True, False], "prefill_chunk_size": [4], "disable_compile": [True], "output_attentions": [True],
    "output_hidden_states": [True], "output_scores": [True], "output_logits": [True], "return_dict_in_generate": [True],
    "no_such_key": [3], "_from_model_config": [True], "forced_decoder_ids": [[[1, 5]]], "max_cache_len": [30],
}
# Several at once, and what only a file without generation_config.json shows.
COMBINATIONS = [
    {"repetition_penalty": 1.5, "encoder_repetition_penalty": 1.3, "sequence_bias": [[[9], 2.0]], "no_repeat_ngram_size": 2},
    {"suppress_tokens": [26, 11], "begin_suppress_tokens": [4, 12], "forced_bos_token_id": 0, "renormalize_logits": True},
    {"eos_token_id": [2, 9], "min_new_tokens": 5, "exponential_decay_length_penalty": [3, 1.5], "max_new_tokens": 15},
    {"forced_bos_token_id": 0, "forced_eos_token_id": 2, "max_length": 2}, {"forced_bos_token_id": 0, "max_new_tokens": 1},
    {"remove_invalid_values": True, "forced_eos_token_id": 2, "min_length": 10}, {"suppress_tokens": [2], "forced_eos_token_id": 2},
    {"max_length": 9, "max_new_tokens": 5}, {"min_length": 9, "min_new_tokens": 3}, {"bad_words_ids": [[26], [2]], "min_length": 12},
    {"force_bos_token_to_be_generated": True, "_from_model_config": True}, {"max_length": REMOVED}, {"max_length": REMOVED, "min_length": 21},
    {"decoder_start_token_id": REMOVED, "bos_token_id": REMOVED}, {"top_k": 4, "penalty_alpha": 0.6},
    {"temperature": 0.7, "top_p": 0.9, "top_k": 10, "do_sample": False},
]


def auto_class(name):
    return transformers.AutoModelForCausalLM if name in LANGUAGE_MODELS else transformers.AutoModelForSequenceClassification


def make_model(name):
    kind, sizes = SIZES[name]
    config = kind(**sizes)
    torch.manual_seed(3)
    cls = transformers.BartForConditionalGeneration if name == "writer" else auto_class(name)
    model = cls(config) if name == "writer" else cls.from_config(config)
    with torch.no_grad():  # norms and biases that count, and a range in which functions differ
        for parameter, tensor in model.named_parameters():
            if tensor.dim() == 1:
                tensor += 0.2 * torch.randn_like(tensor)
            if any(part in parameter for part in ("intermediate.dense.weight", "lin1.weight", "fc1.weight", "gate_proj.weight",
                                                  "mlp.c_fc.weight", "dense_h_to_4h.weight")):
                tensor *= 4
        if name == "writer":
            model.final_logits_bias.normal_(0, 0.5)
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    state = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    tied = ("lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
    if name in LANGUAGE_MODELS:
        tied = ("lm_head.weight",) if config.tie_word_embeddings else ()
    safetensors.torch.save_file({k: v.clone() for k, v in state.items() if k not in tied}, folder / "model.safetensors",
                                metadata={"format": "pt"})
    config.architectures = [type(model).__name__]
    config.dtype = None
    stored = config.to_diff_dict()
    stored["id2label"] = {"0": "LABEL_0", "1": "LABEL_1"}
    stored["label2id"] = {"LABEL_0": 0, "LABEL_1": 1}
    if name in LANGUAGE_MODELS:  # rotary positions are among what is changed
        for key in ("id2label", "label2id", "rope_parameters"):
            stored.pop(key, None)
    for key in ("transformers_version", "dtype"):
        stored.pop(key, None)
    (folder / "config.json").write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")


def changed(base, changes):
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if value == REMOVED:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def write_folder(folder, model, config):
    os.symlink(HERE / model / "model.safetensors", folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))


def load(cls, folder, dtype):
    model, info = cls.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    if info["missing_keys"] or info.get("mismatched_keys"):
        raise ValueError(f"weights made up: {info}")
    return model.eval()


def logits_of(model, config):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_folder(folder, model, config)
        network = load(auto_class(model), folder, torch.float32)
        results = []
        for ids in SEQUENCES:
            with torch.no_grad():
                output = network(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
            logits = output.logits[0, -1] if model in LANGUAGE_MODELS else output.logits[0]
            logits = logits.double().tolist()
            if not all(map(math.isfinite, logits)):
                raise ValueError("not finite")
            results.append([float(f"{value:.8g}") for value in logits])
        return results


def texts_of(network, settings, place):
    """ids by source of the texts of each, as a folder with these settings gives them"""
    with tempfile.TemporaryDirectory() as name:
        (pathlib.Path(name) / place).write_text(json.dumps(settings))
        # What from_pretrained of a model does (GenerationMixin.adjust_generation_fn).
        old = {} if place == "generation_config.json" else {"config_file_name": place, "_from_model_config": True}
        network.generation_config = transformers.GenerationConfig.from_pretrained(name, **old)
    ends = network.generation_config.eos_token_id
    ends = set() if ends is None else {ends} if isinstance(ends, int) else set(ends)
    results = []
    for ids in SOURCES:
        torch.manual_seed(0)
        output = network.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
        rows = output if torch.is_tensor(output) else output.sequences
        texts = []
        for row in rows.tolist():
            place_of_end = next((i for i, token in enumerate(row) if i > 0 and token in ends), len(row) - 1)
            texts.append(row[: place_of_end + 1])
        results.append(texts)
    return results


def attempt(function, *arguments):
    try:
        return function(*arguments)
    except BaseException as error:  # noqa: BLE001: whatever the library throws is a refusal
        if isinstance(error, KeyboardInterrupt):
            raise
        return "refused"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    if not arguments.check:
        for name in SIZES:
            make_model(name)
    result = {"transformers": transformers.__version__, "removed": REMOVED, "sequences": SEQUENCES, "sources": SOURCES,
              "logits": [], "texts": []}
    for model, values in VALUES.items():
        if arguments.only and arguments.only != model:
            continue
        base = json.loads((HERE / model / "config.json").read_text())
        pairs = [("", None)] + [(key, value) for key, choices in values.items() for value in choices]
        plain = None
        for key, value in pairs:
            found = attempt(logits_of, model, changed(base, {key: value} if key else value or {}))
            result["logits"].append({"model": model, "key": key, "value": value,
                                     "logits": "unchanged" if plain and found == plain else found})
            plain = plain or found
    if not arguments.only or arguments.only == "writer":
        network = load(transformers.BartForConditionalGeneration, HERE / "writer", torch.float32)
        changes = [{key: value} if key else {} for key, values in GENERATION_VALUES.items() for value in values] + COMBINATIONS
        for place in ("generation_config.json", "config.json"):
            for name, base in BASES.items():
                if place == "config.json" and name != "greedy":
                    continue
                plain = None
                for change in changes:
                    found = attempt(texts_of, network, changed(COMMON_GENERATION | base, change), place)
                    plain = plain or found
                    result["texts"].append({"file": place, "base": COMMON_GENERATION | base, "change": change,
                                            "ids": "unchanged" if change and found == plain else found})
    text = json.dumps(result)
    for name in ("logits", "texts"):
        text = text.replace(f'"{name}": [{{', f'\n"{name}": [\n{{')
    text = text.replace("}, {\"model\"", "},\n{\"model\"").replace("}, {\"file\"", "},\n{\"file\"") + "\n"
    if arguments.check:
        stored = (HERE / "keys.json").read_text()
        print("equal" if stored == text else "keys.json differs")
        sys.exit(stored != text)
    (HERE / "keys.json").write_text(text)
    print(len(result["logits"]), "pairs of config.json,", len(result["texts"]), "of generation")


if __name__ == "__main__":
    main()
