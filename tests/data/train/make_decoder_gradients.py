"""gradients_NAME.safetensors: gradients of a small decoder of tests/data/models in float64, by PyTorch
and Hugging Face transformers. Every sequence runs alone.

usage: make_decoder_gradients.py MODEL_FOLDER OUTPUT
"""
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

folder, output = sys.argv[1:]
config = AutoConfig.from_pretrained(folder)
config._attn_implementation = "eager"
model = AutoModelForCausalLM.from_config(config).double().eval()
missing, unexpected = model.load_state_dict(load_file(f"{folder}/model.safetensors"), strict=False)
assert not unexpected and all(name == "lm_head.weight" for name in missing), (missing, unexpected)
model.tie_weights()
inputs = load_file(f"{folder}/inputs.safetensors")
ids, lengths = inputs["b4.input_ids"], inputs["b4.attention_mask"].sum(1)
logits = torch.cat([model(input_ids=row[None, :length]).logits[0]
                    for row, length in zip(ids, lengths)])
weights = torch.linspace(-1, 1, logits.numel(), dtype=torch.float64).view_as(logits)
(logits * weights).sum().backward()
# Vectors, and the matrices of the first layer and of the embeddings.
keep = {
    name: parameter.grad.float().contiguous()
    for name, parameter in model.named_parameters()
    if parameter.dim() == 1 or ".0." in name or "embed" in name
}
save_file(keep, output)
print(len(keep), "tensors")
