"""Numbers of PyTorch for tests/data/train."""
import json, math, sys
import torch
torch.set_num_threads(1)
out = sys.argv[1]
def run(kind, wd, steps=6):
    torch.manual_seed(5)
    g = torch.Generator().manual_seed(11)
    values = [torch.randn(7, generator=g), torch.randn(2, 3, generator=g) * 1e-3]
    grads = [[torch.randn(v.shape, generator=g) * 10.0 ** (i - 1) for i, v in enumerate(values)] for _ in range(steps)]
    start = [v.tolist() for v in values]
    params = [torch.nn.Parameter(v.clone()) for v in values]
    lrs = [1e-2 * (steps - s) / steps for s in range(steps)]
    if kind == "pytorch":
        opt = torch.optim.AdamW(params, lr=1.0, weight_decay=wd, foreach=False) if wd else torch.optim.Adam(params, lr=1.0, foreach=False)
    else:
        first = [torch.zeros_like(v) for v in values]; second = [torch.zeros_like(v) for v in values]
    for s in range(steps):
        if kind == "pytorch":
            for grp in opt.param_groups: grp["lr"] = lrs[s]
            for p, gr in zip(params, grads[s]): p.grad = gr.clone()
            opt.step()
        else:  # the update that the AdamW of transformers 4 documents, on plain tensors
            t = s + 1
            for p, gr, m, v in zip(params, grads[s], first, second):
                m.mul_(0.9).add_(gr, alpha=1 - 0.9)
                v.mul_(0.999).addcmul_(gr, gr, value=1 - 0.999)
                size = lrs[s] * math.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
                p.data.addcdiv_(m, v.sqrt().add_(1e-8), value=-size)
                if wd: p.data.add_(p.data, alpha=-lrs[s] * wd)
    return dict(variant=kind, weight_decay=wd, start=start, learning_rates=lrs,
                gradients=[[x.tolist() for x in gs] for gs in grads], end=[p.detach().tolist() for p in params])
result = {"adam": [run("pytorch", 0), run("pytorch", 0.1), run("transformers", 0), run("transformers", 0.1)]}
p = [torch.nn.Parameter(torch.zeros(4)), torch.nn.Parameter(torch.zeros(3))]
p[0].grad = torch.tensor([1.0, -2.0, 3.0, 0.5]); p[1].grad = torch.tensor([0.25, 4.0, -1.5])
g0 = [x.grad.tolist() for x in p]
norm = torch.nn.utils.clip_grad_norm_(p, 1.0).item()
result["clip"] = dict(gradients=g0, max_norm=1.0, norm=norm, clipped=[x.grad.tolist() for x in p])
def schedule(make, peak, steps):
    q = torch.nn.Parameter(torch.zeros(1)); opt = torch.optim.SGD([q], lr=peak); sch = make(opt); lrs = []
    for _ in range(steps):
        lrs.append(opt.param_groups[0]["lr"]); opt.step(); sch.step()
    return lrs
from transformers import get_linear_schedule_with_warmup, get_cosine_schedule_with_warmup
L = torch.optim.lr_scheduler
result["schedules"] = [
  dict(decay="cosine", peak=1e-5, steps=12, warmup=0, rates=schedule(lambda o: L.CosineAnnealingLR(o, 12), 1e-5, 12)),
  dict(decay="cosine", peak=3e-4, steps=10, warmup=3, rates=schedule(lambda o: get_cosine_schedule_with_warmup(o, 3, 10), 3e-4, 10)),
  dict(decay="linear", peak=2e-4, steps=12, warmup=2, rates=schedule(lambda o: get_linear_schedule_with_warmup(o, 2, 12), 2e-4, 12)),
  dict(decay="linear", peak=2e-4, steps=7, warmup=0, rates=schedule(lambda o: get_linear_schedule_with_warmup(o, 0, 7), 2e-4, 7))]
json.dump(result, open(out, "w"), indent=1)
