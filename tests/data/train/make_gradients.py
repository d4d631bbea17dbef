"""gradients.safetensors: gradients of the tiny BERT of tests/data/parity/outlier_suppression in
float64, by PyTorch and Hugging Face transformers.

usage: make_gradients.py MODEL_FOLDER OUTPUT
"""
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

folder, output = sys.argv[1:]
config = BertConfig.from_json_file(f"{folder}/config.json")
config._attn_implementation = "eager"
model = BertForSequenceClassification(config).double().eval()
missing, unexpected = model.load_state_dict(load_file(f"{folder}/model.safetensors"), strict=False)
assert not unexpected and all("position_ids" in name for name in missing), (missing, unexpected)
inputs = load_file(f"{folder}/inputs.safetensors")
logits = model(
    input_ids=inputs["b0.input_ids"].long(),
    attention_mask=inputs["b0.attention_mask"].long(),
    token_type_ids=inputs["b0.token_type_ids"].long(),
).logits
weights = torch.linspace(-1, 1, logits.numel(), dtype=torch.float64).view_as(logits)
(logits * weights).sum().backward()
# Vectors of all modules, and matrices that are small.
keep = {
    name: parameter.grad.float().contiguous()
    for name, parameter in model.named_parameters()
    if parameter.numel() <= 64 * 40 or name.endswith("layer.1.attention.self.query.weight")
}
keep["logits"] = logits.detach().float()
save_file(keep, output)
print(len(keep), "tensors")
