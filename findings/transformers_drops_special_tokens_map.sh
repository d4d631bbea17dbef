#!/usr/bin/env bash
# transformers 5.24.0 (tokenizers 0.23.3): special_tokens_map.json counts or does not, depending on another file.
# Where tokenizer_config.json has `added_tokens_decoder`, even with a single entry that repeats a token of the
# vocabulary, the tokens that special_tokens_map.json declares are dropped without a word, and <x> is cut into
# pieces; without that key the same <x> is one token. Expected: both files count, or a warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
  --target "$folder/packages" transformers==5.24.0 tokenizers==0.23.3
for name in with without; do
  mkdir "$folder/$name"
  printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n' > "$folder/$name/vocab.txt"
  echo '{"model_type": "bert", "vocab_size": 64}' > "$folder/$name/config.json"
  echo '{"additional_special_tokens": ["<x>"]}' > "$folder/$name/special_tokens_map.json"
done
echo '{"tokenizer_class": "BertTokenizer"}' > "$folder/without/tokenizer_config.json"
cat > "$folder/with/tokenizer_config.json" << 'JSON'
{"tokenizer_class": "BertTokenizer",
 "added_tokens_decoder": {"4": {"content": "[MASK]", "single_word": false, "lstrip": false, "rstrip": false,
                                "normalized": false, "special": true}}}
JSON
PYTHONPATH="$folder/packages" python3 - "$folder" << 'PYTHON'
import sys
from transformers import AutoTokenizer

found = {name: AutoTokenizer.from_pretrained(f"{sys.argv[1]}/{name}").tokenize("hello <x>")
         for name in ("without", "with")}
for name, tokens in found.items():
    print(f"{name} added_tokens_decoder: {tokens}")
expected = {"without": ["hello", "<x>"], "with": ["hello", "[UNK]", "[UNK]", "[UNK]"]}
sys.exit(0 if found == expected else "changed")
PYTHON
