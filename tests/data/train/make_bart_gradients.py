"""gradients_bart.safetensors: gradients of the tiny BART of
tests/data/parity/outlier_suppression_bart_gen in float64, by PyTorch and Hugging Face transformers.

usage: make_bart_gradients.py MODEL_FOLDER OUTPUT
"""
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import BartConfig, BartForConditionalGeneration

folder, output = sys.argv[1:]
config = BartConfig.from_json_file(f"{folder}/config.json")
config._attn_implementation = "eager"
model = BartForConditionalGeneration(config).double().eval()
missing, unexpected = model.load_state_dict(load_file(f"{folder}/model.safetensors"), strict=False)
tied = ("embed_tokens.weight", "lm_head.weight")
assert not unexpected and all(name.endswith(tied) for name in missing), (missing, unexpected)
model.tie_weights()
inputs = {k[3:]: v.long() for k, v in load_file(f"{folder}/inputs.safetensors").items()
          if k.startswith("b0.")}
mask = inputs["decoder_attention_mask"]
logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
               decoder_input_ids=inputs["decoder_input_ids"], decoder_attention_mask=mask).logits
logits = logits[mask.bool()]  # the real tokens, sequence by sequence
weights = torch.linspace(-1, 1, logits.numel(), dtype=torch.float64).view_as(logits)
(logits * weights).sum().backward()
# Vectors of the first layers, a matrix of each attention, and the table that three places share.
matrices = ("encoder.layers.0.self_attn.q_proj.weight", "decoder.layers.0.self_attn.k_proj.weight",
            "decoder.layers.0.encoder_attn.q_proj.weight",
            "decoder.layers.1.encoder_attn.v_proj.weight", "model.shared.weight")
keep = {
    name: parameter.grad.float().contiguous()
    for name, parameter in model.named_parameters()
    if (parameter.dim() == 1 and "layers.1" not in name) or name.endswith(matrices)
}
save_file(keep, output)
print(len(keep), "tensors")
