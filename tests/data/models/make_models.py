#!/usr/bin/env python3
"""Small random checkpoints with the logits of Hugging Face transformers.

usage: make_models.py [name ...]      (all of them where none is named)

Needs torch, transformers and safetensors. Made with torch 2.11.0 and transformers 5.23.0, MobileBERT
and DistilRoBERTa with 5.24.0. Every sequence of a MobileBERT is computed alone, because its last token sees the row
of the padding token in a padded batch: fp.padded_logits. grad.* are the gradients in float64 of the
logits of the last batch, weighted from -1 to 1.
"""
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
BATCHES, SEQUENCES, LENGTH, VOCABULARY, LABELS = 5, 8, 24, 120, 3

NARROW = dict(vocab_size=VOCABULARY, embedding_size=12, hidden_size=24, intra_bottleneck_size=12,
              num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
              num_feedforward_networks=3, max_position_embeddings=40, hidden_dropout_prob=0.1,
              num_labels=LABELS)


def mobilebert(**changes):
    return transformers.MobileBertConfig(**(NARROW | changes))


CONFIGS = {
    "distilroberta": transformers.RobertaConfig(
        vocab_size=VOCABULARY, hidden_size=24, num_hidden_layers=6, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=42, type_vocab_size=1, num_labels=LABELS),
    "mobilebert": mobilebert(),
    "mobilebert_layer_norm": mobilebert(normalization_type="layer_norm", num_feedforward_networks=2,
                                        layer_norm_eps=1e-3),
    "mobilebert_narrow_attention": mobilebert(use_bottleneck_attention=True),
    "mobilebert_wide_attention": mobilebert(key_query_shared_bottleneck=False,
                                            intra_bottleneck_size=24),
    "mobilebert_no_bottleneck": mobilebert(use_bottleneck=False, hidden_act="gelu"),
    "mobilebert_plain": mobilebert(trigram_input=False, embedding_size=24,
                                   classifier_activation=False, num_feedforward_networks=1,
                                   use_bottleneck_attention=True,
                                   key_query_shared_bottleneck=False),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=VOCABULARY, dim=48, n_layers=2, n_heads=4, hidden_dim=96,
        max_position_embeddings=40, num_labels=LABELS),
    "electra": transformers.ElectraConfig(
        vocab_size=VOCABULARY, embedding_size=48, hidden_size=48, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=96, max_position_embeddings=40,
        num_labels=LABELS),
    "electra_small": transformers.ElectraConfig(
        vocab_size=VOCABULARY, embedding_size=20, hidden_size=48, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=96, max_position_embeddings=40,
        num_labels=LABELS),
}


def alone(model, given, lengths):
    """the logits of each sequence alone"""
    return torch.cat([model(**{key: tensor[i:i + 1, :length] for key, tensor in given.items()}).logits
                      for i, length in enumerate(lengths.tolist())])


def gradients(model, given, lengths):
    model = model.double()
    logits = alone(model, given, lengths)
    (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
    return {"grad." + name: tensor.grad.float() for name, tensor in model.named_parameters()}


def make(name, config):
    torch.manual_seed(7)
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.25 if name.startswith("mobilebert") else 0.1
            parameter.add_(spread * torch.randn_like(parameter))
    inputs, logits, padded = {}, [], []
    for batch in range(BATCHES):
        lengths = torch.randint(3, LENGTH + 1, (SEQUENCES,))
        mask = (torch.arange(LENGTH) < lengths[:, None]).long()
        ids = torch.randint(5, VOCABULARY, (SEQUENCES, LENGTH)) * mask
        if name == "distilroberta":
            ids += (1 - mask) * config.pad_token_id
        inputs[f"b{batch}.input_ids"], inputs[f"b{batch}.attention_mask"] = ids, mask
        given = dict(input_ids=ids, attention_mask=mask)
        if name.startswith(("electra", "mobilebert")):
            types = torch.randint(0, 2, ids.shape) * mask
            inputs[f"b{batch}.token_type_ids"] = given["token_type_ids"] = types
        with torch.no_grad():
            padded.append(model(**given).logits)
            logits.append(alone(model, given, lengths) if name.startswith("mobilebert")
                          else padded[-1])
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.to_json_file(folder / "config.json")
    save_file({k: v.contiguous() for k, v in model.state_dict().items()
               if not k.endswith("position_ids")}, folder / "model.safetensors")
    save_file(inputs, folder / "inputs.safetensors")
    goldens = {"fp.logits": torch.stack(logits)}
    if name.startswith("mobilebert"):
        goldens["fp.padded_logits"] = torch.stack(padded)
    if name == "mobilebert":
        goldens |= gradients(model, given, lengths)
    save_file(goldens, folder / "logits.safetensors")


for name in sys.argv[1:] or CONFIGS:
    make(name, CONFIGS[name])
