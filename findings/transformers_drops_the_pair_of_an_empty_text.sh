#!/usr/bin/env bash
# transformers 5.24.0, tokenizers 0.23.3: a pair whose second text is empty is a pair in a batch and none alone.
# tokenizer("a", "") gives [CLS] a [SEP], as for one text; tokenizer(["a"], [""]) and the library below give
# [CLS] a [SEP] [SEP]. Pairs with an empty side occur in GLUE-like data (an empty hypothesis or answer), which
# training reads in batches: a service that asks for one example at a time gives the model other ids and token
# types. Expected: the same ids both ways.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
  --target "$folder/packages" transformers==5.24.0 tokenizers==0.23.3 numpy
PYTHONPATH="$folder/packages" python3 - << 'PYTHON'
import sys

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

below = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}, unk_token="[UNK]"))
below.pre_tokenizer = pre_tokenizers.Whitespace()
below.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
tokenizer = PreTrainedTokenizerFast(tokenizer_object=below, unk_token="[UNK]", cls_token="[CLS]",
                                    sep_token="[SEP]")
alone = tokenizer("a", "")["input_ids"]
batched = tokenizer(["a"], [""])["input_ids"][0]
print(f"alone {alone}, in a batch {batched}, tokenizers itself {below.encode('a', '').ids}")
sys.exit(0 if (alone, batched) == ([1, 3, 2], [1, 3, 2, 2]) else "changed: expected 3 and 4 ids")
PYTHON
