#!/usr/bin/env python3
"""What lm-evaluation-harness makes of the items in this folder: harness.json.

    python3 -m venv harness
    harness/bin/pip install lm-eval==0.4.13 transformers==5.24.0 torch==2.11.0 accelerate
    harness/bin/python make_harness_golden.py model ../../../../shared/models/tiny-llama ...

Each model is run in float32 on one thread, with the tokenizer.json of its folder as it is. What harness.json has of
other models is kept.
"""
import argparse
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
ITEMS = HERE / "items"
METRICS = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm", "acc_bytes")]
# Tasks of the harness on our items: its file, and the split that it evaluates.
KNOWN = {
    "piqa": ("piqa/piqa.yaml", "validation"),
    "arc_easy": ("arc/arc_easy.yaml", "test"),
    "hellaswag": ("hellaswag/hellaswag.yaml", "validation"),
    "winogrande": ("winogrande/default.yaml", "validation"),
    "lambada": ("lambada/lambada_openai.yaml", "test"),
    "wikitext": ("wikitext/wikitext.yaml", "test"),
}
OWN = {
    "letters": {
        "doc_to_text": "Question: {{question}}\nA. {{a}}\nB. {{b}}\nC. {{c}}\nAnswer:",
        "doc_to_choice": ["A", "B", "C"], "doc_to_target": "right",
    },
    "sentences": {"doc_to_text": "", "doc_to_choice": "{{[good, bad]}}", "doc_to_target": "label"},
}


def pages(text: str) -> list[str]:
    """Each begins with a line " = Title = "."""
    found: list[str] = []
    for line in text.splitlines(keepends=True):
        words = line.split()
        title = len(words) > 2 and words[0] == words[-1] == "=" and words[1] != "="
        if title or not found:
            found.append("")
        found[-1] += line
    return [page for page in found if page.strip()]


def task_files(folder: Path) -> None:
    built_in = Path(lm_eval.__file__).parent / "tasks"
    rows = [{"page": page} for page in pages((ITEMS / "wikitext.txt").read_text())]
    (folder / "wikitext.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, (file, split) in KNOWN.items():
        data = (folder if name == "wikitext" else ITEMS) / f"{name}.jsonl"
        config: dict[str, Any] = {
            "include": str(built_in / file), "task": f"own_{name}", "tag": None, "dataset_path": "json",
            "dataset_name": None, "dataset_kwargs": {"data_files": {split: str(data)}}, "training_split": None,
            "validation_split": None, "test_split": None, f"{split}_split": split,
        }
        (folder / f"{name}.yaml").write_text(json.dumps(config))
    for name, prompts in OWN.items():
        config = {
            "task": f"own_{name}", "dataset_path": "json", "output_type": "multiple_choice",
            "dataset_kwargs": {"data_files": {"validation": str(ITEMS / f"{name}.jsonl")}},
            "validation_split": "validation", "metric_list": METRICS, **prompts,
        }
        (folder / f"{name}.yaml").write_text(json.dumps(config))


def run(folder: Path, add_bos: bool | None, manager: TaskManager) -> dict[str, Any]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    # Right padding needs some token; it is masked by being behind everything.
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    options = {} if add_bos is None else {"add_bos_token": add_bos}
    evaluated = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=4, device="cpu", **options)
    found = lm_eval.simple_evaluate(
        model=evaluated, tasks=[f"own_{name}" for name in [*KNOWN, *OWN]], task_manager=manager, log_samples=True,
        bootstrap_iters=0)
    results = {}
    for name in [*KNOWN, *OWN]:
        samples = []
        for sample in sorted(found["samples"][f"own_{name}"], key=lambda one: one["doc_id"]):
            answers = [response[0] for response in sample["resps"]]
            one: dict[str, Any] = {key: sample[key] for key in ("doc_hash", "prompt_hash", "target_hash")}
            if name == "wikitext":
                one["log_likelihood"] = answers
            else:
                one["log_likelihood"] = [answer[0] for answer in answers]
                one["greedy"] = [answer[1] for answer in answers]
            samples.append(one)
        metrics = {key.split(",")[0]: value for key, value in found["results"][f"own_{name}"].items()
                   if key.endswith(",none") and "stderr" not in key}
        results[name] = {"metrics": metrics, "samples": samples}
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["HF_HUB_OFFLINE"] = "1"
    output = HERE / "harness.json"
    golden = json.loads(output.read_text()) if output.exists() else {"models": {}}
    golden["versions"] = {name: importlib.metadata.version(name)
                          for name in ("lm-eval", "transformers", "torch", "tokenizers")}
    with tempfile.TemporaryDirectory() as name:
        task_files(Path(name))
        manager = TaskManager(include_path=name)
        for folder in arguments.models:
            rules = {"tokenizer": None, "never": False} if folder.name == "model" else {"tokenizer": None}
            golden["models"][folder.name] = {rule: run(folder, add_bos, manager) for rule, add_bos in rules.items()}
    partial = output.with_suffix(".partial")
    partial.write_text(json.dumps(golden, indent=1) + "\n")
    partial.replace(output)


if __name__ == "__main__":
    main()
