#!/usr/bin/env bash
# transformers 5.24.0 (tokenizers 0.23.3): the id under which `added_tokens_decoder` of tokenizer_config.json
# declares a token does not count where the vocabulary has a gap in front of it. A folder with 7 entries in
# vocab.txt that declares <new> as 50 loads without a word, and <new> becomes 7: another row of the embeddings
# than the file says. Expected: the declared id, or an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
  --target "$folder/packages" transformers==5.24.0 tokenizers==0.23.3
mkdir "$folder/model"
printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n' > "$folder/model/vocab.txt"
echo '{"model_type": "bert", "vocab_size": 64}' > "$folder/model/config.json"
cat > "$folder/model/tokenizer_config.json" << 'JSON'
{"tokenizer_class": "BertTokenizer",
 "added_tokens_decoder": {"50": {"content": "<new>", "single_word": false, "lstrip": false, "rstrip": false,
                                 "normalized": false, "special": false}}}
JSON
PYTHONPATH="$folder/packages" python3 - "$folder/model" << 'PYTHON'
import sys
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
found = tokenizer.convert_tokens_to_ids("<new>")
print(f"<new> is declared as 50 and gets {found}; ids of 'hello <new>': {tokenizer('hello <new>')['input_ids']}")
sys.exit(0 if found == 7 else f"changed: expected the observed 7, found {found}")
PYTHON
