"""finetuning.json: the losses of training the tiny BERT of tests/data/parity/outlier_suppression in
float32 without dropout, by PyTorch and Hugging Face transformers.

usage: make_finetuning.py MODEL_FOLDER OUTPUT
"""
import json
import sys

import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification, get_linear_schedule_with_warmup

EPOCHS, BATCHES, RATE, DECAY = 2, 4, 1e-3, 0.1

torch.set_num_threads(1)
folder, output = sys.argv[1:]
config = BertConfig.from_json_file(f"{folder}/config.json")
config._attn_implementation = "eager"
model = BertForSequenceClassification(config).eval()
model.load_state_dict(load_file(f"{folder}/model.safetensors"), strict=False)
matrices = [p for p in model.parameters() if p.dim() > 1]
vectors = [p for p in model.parameters() if p.dim() == 1]
optimizer = torch.optim.AdamW(
    [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0}],
    lr=RATE, foreach=False)
steps = EPOCHS * BATCHES
schedule = get_linear_schedule_with_warmup(optimizer, 2, steps)
inputs = load_file(f"{folder}/inputs.safetensors")
losses = []
for step in range(steps):
    batch = f"b{step % BATCHES}."
    loss = model(
        input_ids=inputs[batch + "input_ids"].long(),
        attention_mask=inputs[batch + "attention_mask"].long(),
        token_type_ids=inputs[batch + "token_type_ids"].long(),
        labels=inputs[batch + "labels"].long(),
    ).loss
    losses.append(loss.item())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
json.dump({"losses": losses, "classifier": model.classifier.weight.tolist()}, open(output, "w"))
print(losses)
