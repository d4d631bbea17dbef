#!/usr/bin/env bash
# tokenizers 0.23.3 (its regular expressions are Oniguruma's): \w means more characters alone than in a set. \w+
# takes "a²b½c" whole, [\w]+ and [[:word:]]+ part it at ² and ½. So \w+|[^\w\s]+, a usual pattern of
# pre-tokenizers, says twice what a word character is: ² belongs to \w by its first half and to [^\w] by its
# second, and which half a character falls to depends on the order of the alternatives. Beside that, [[:punct:]]
# holds symbols such as + and \p{Punct} does not. Whoever runs a tokenizer.json with another engine of regular
# expressions (ICU, RE2, Python's re) gets other pieces. Expected: one meaning of each class.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
  --target "$folder/packages" tokenizers==0.23.3
PYTHONPATH="$folder/packages" python3 - << 'PYTHON'
import sys

from tokenizers import Regex, pre_tokenizers


def pieces(pattern, text):
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    return [piece for piece, _ in split.pre_tokenize_str(text)]


words = {pattern: pieces(pattern, "a²b½c") for pattern in (r"\w+", r"[\w]+", r"[[:word:]]+")}
marks = {pattern: pieces(pattern, "a+b!c") for pattern in (r"[[:punct:]]", r"\p{Punct}")}
print(words, marks)
parted = ["a", "²", "b", "½", "c"]
same = list(words.values()) == [["a²b½c"], parted, parted] and list(marks.values()) == [
    ["a", "+", "b", "!", "c"], ["a+b", "!", "c"]]
sys.exit(0 if same else "changed: expected other pieces in a set than alone")
PYTHON
