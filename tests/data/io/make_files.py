"""Writes the small files of this folder with PyTorch itself; README.md says how to run it."""

import collections
import json
import pathlib
import sys

import torch

FOLDER = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)


def numbers(dtype, *shape):
    """0, 1, 2, ... times 0.25 for floating point; whole numbers otherwise."""
    count = torch.Size(shape).numel()
    values = torch.arange(count, dtype=torch.float64)
    if dtype == torch.bool:
        values = values % 2
    elif dtype.is_floating_point:
        values = values * 0.25 - 1
    else:
        values = values - (0 if dtype == torch.uint8 else 3)
    return values.to(dtype).reshape(shape)


def state_dict():
    """All types, and every way in which a tensor may lie in its storage."""
    base = numbers(torch.float32, 4, 6)
    shared = numbers(torch.float32, 3, 2)
    state = collections.OrderedDict()
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64,
                  torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool):
        state[f"type.{str(dtype).removeprefix('torch.')}"] = numbers(dtype, 2, 3)
    state["transposed"] = base.t()
    state["slice"] = base[1:3, 2:5]
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.empty(0, 5)
    state["tied.a"] = shared
    state["tied.b"] = shared
    state["parameter"] = torch.nn.Parameter(numbers(torch.float32, 3))
    return state


class Harmful:
    """Would run a command if somebody executed the pickle."""

    def __reduce__(self):
        import os
        return os.system, ("echo executed > executed.txt",)


def write_plain(state):
    """What must be read, as JSON: name -> type, shape, values in order."""
    plain = {name: {"type": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape),
                    "values": tensor.detach().to(torch.float64).flatten().tolist()}
             for name, tensor in state.items()}
    (FOLDER / "state.json").write_text(json.dumps(plain, indent=1) + "\n")


def main():
    state = state_dict()
    write_plain(state)
    torch.save(state, FOLDER / "state_zip.bin")
    torch.save(state, FOLDER / "state_old.bin", _use_new_zipfile_serialization=False)
    # A module's own state dict carries attributes (module versions).
    torch.save(torch.nn.LayerNorm(3).state_dict(), FOLDER / "module.bin")
    torch.save({"state_dict": state, "epoch": 3}, FOLDER / "nested.bin")
    torch.save({"harmful": Harmful()}, FOLDER / "harmful.bin")
    torch.save(torch.zeros(2), FOLDER / "single.bin")
    torch.save({"expanded": torch.zeros(1).expand(1000)}, FOLDER / "expanded.bin")


main()
