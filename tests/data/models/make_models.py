#!/usr/bin/env python3
"""Small random checkpoints with the logits of Hugging Face transformers.

Needs torch, transformers and safetensors. Made with torch 2.11.0 and transformers 5.23.0.
"""
import pathlib

import torch
import transformers
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
BATCHES, SEQUENCES, LENGTH, VOCABULARY, LABELS = 5, 8, 24, 120, 3

CONFIGS = {
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


def make(name, config):
    torch.manual_seed(7)
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    inputs, logits = {}, []
    for batch in range(BATCHES):
        lengths = torch.randint(3, LENGTH + 1, (SEQUENCES,))
        mask = (torch.arange(LENGTH) < lengths[:, None]).long()
        ids = torch.randint(5, VOCABULARY, (SEQUENCES, LENGTH)) * mask
        inputs[f"b{batch}.input_ids"], inputs[f"b{batch}.attention_mask"] = ids, mask
        given = dict(input_ids=ids, attention_mask=mask)
        if name.startswith("electra"):
            types = torch.randint(0, 2, ids.shape) * mask
            inputs[f"b{batch}.token_type_ids"] = given["token_type_ids"] = types
        with torch.no_grad():
            logits.append(model(**given).logits)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.to_json_file(folder / "config.json")
    save_file({k: v.contiguous() for k, v in model.state_dict().items()
               if not k.endswith("position_ids")}, folder / "model.safetensors")
    save_file(inputs, folder / "inputs.safetensors")
    save_file({"fp.logits": torch.stack(logits)}, folder / "logits.safetensors")


for name, config in CONFIGS.items():
    make(name, config)
