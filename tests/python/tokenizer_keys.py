"""What transformers makes of the keys of tokenizer files.

Builds small model folders, changes one key of one file at a time, and stores what transformers'
AutoTokenizer gives for a few texts: ids and token types, or that it fails. tests/unit/text/
keys_test.cpp walks the file and asks the same of quell. With --check the file is compared with what
the installed transformers gives instead. Needs transformers (5.24 wrote the stored file) and no
torch.
"""
import argparse
import copy
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile

os.environ.update(TRANSFORMERS_VERBOSITY="critical", HF_HUB_OFFLINE="1")

TEXTS = [
    ["Hello, wOrld!  hello"],
    ["  a b\u0301c na\u00efve \u00c9t\u00e9 \ufb01ne \u2460"],
    ["ab <x> ab<x>ab hello [MASK] <mask> ab [UNK] <unk>"],
    ["The price 1234 5.60, hell\u4e2d\u6587o \u0130i\u0307\n\tNEW tok newtok Newtok"],
    ["<e1> hello </e1>hello<|endoftext|> </s> x<pad>[PAD]"],
    ["\U0001f600\u00a0z zz a_b it's  "],
    [""],
    ["hello ab", "world, hello"],
]

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<e1>", "</e1>", "hello", "world", "##ly",
         "Hello", "ab", "a", "##b", "b", "c", "##c", "na\u00efve", "naive", "\u00c9t\u00e9", "ete",
         "\u00e9t\u00e9", "fine", "price", "The", "the", "1234", "1", "##2", "##3", "##4", "5",
         "60", "##0", "6", ".", ",", "!", "'", "_", "it", "s", "z", "##z", "NEW", "new", "tok",
         "##tok", "\u4e2d", "\u6587", "hell", "##o", "o", "<", ">", "x", "mask", "unk", "##e",
         "[", "]", "/", "e", "pad", "|", "w", "##O", "i", "\u0130", "1234.", "wo", "##rld",
         "\u2581hello", "\u2581ab", "\u2581", "wO"]
TOKEN_FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}


def token(content, **flags):
    return {"content": content, "special": False, **TOKEN_FLAGS, **flags}


def special(content, **flags):
    return token(content, special=True, **flags)


def byte_characters():
    """The visible characters that GPT-2 writes bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {**{byte: chr(byte) for byte in plain}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def byte_pairs():
    characters = byte_characters()
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>", "<e1>", "</e1>"]
    tokens += [characters[byte] for byte in range(256) if byte != ord("w")]
    blank = characters[ord(" ")]
    merges = [["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], [blank, "hello"], ["a", "b"],
              [blank, "ab"], [blank, "a"], ["1", "2"], ["12", "3"], [blank, "hell"]]
    tokens += dict.fromkeys("".join(pair) for pair in merges)
    return {text: i for i, text in enumerate(tokens)}, merges


def llama_pairs():
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581",
              *"abcehlowrdNEWtk.,!1234560[]<>/MASKsiz'_x|n"]
    merges = [["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], ["\u2581", "hello"],
              ["a", "b"], ["\u2581", "ab"], ["\u2581", "a"], ["1", "2"]]
    tokens += dict.fromkeys("".join(pair) for pair in merges)
    return {text: i for i, text in enumerate(dict.fromkeys(tokens))}, merges


def bert_json(**parts):
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, **special(WORDS[i])} for i in range(5)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                     {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                               "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100,
                  "vocab": {word: i for i, word in enumerate(WORDS)}}, **parts}


def byte_json():
    vocabulary, merges = byte_pairs()
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, **special(t)} for i, t in enumerate(list(vocabulary)[:5])],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                          "use_regex": True},
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
                           "trim_offsets": True, "add_prefix_space": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                    "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
                  "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary,
                  "merges": merges}}


def llama_json():
    vocabulary, merges = llama_pairs()
    result = byte_json()
    result.update(
        added_tokens=[{"id": i, **special(t)} for i, t in enumerate(list(vocabulary)[:3])],
        normalizer={"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        pre_tokenizer=None,
        post_processor={
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                     {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "<s>", "type_id": 1}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        decoder={"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})
    result["model"].update(unk_token="<unk>", fuse_unk=True, byte_fallback=True,
                           continuing_subword_prefix=None, end_of_word_suffix=None,
                           vocab=vocabulary, merges=[" ".join(pair) for pair in merges])
    return result


def merges_txt(merges):
    return "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)


def bases():
    vocabulary, merges = byte_pairs()
    parts = {"vocab.json": vocabulary, "merges.txt": merges_txt(merges)}
    config = "tokenizer_config.json"
    generic = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    return {
        "bert": {"config.json": {"model_type": "bert"}, "tokenizer.json": bert_json(),
                 config: {"tokenizer_class": "BertTokenizer"}},
        "bert-txt": {"config.json": {"model_type": "bert"}, "vocab.txt": "\n".join(WORDS) + "\n"},
        "generic": {"config.json": {"model_type": "bert"}, "tokenizer.json": bert_json(),
                    config: {"tokenizer_class": "PreTrainedTokenizerFast"}},
        "roberta": {"config.json": {"model_type": "roberta"}, "tokenizer.json": byte_json(),
                    config: {"tokenizer_class": "RobertaTokenizer"}},
        "roberta-parts": {"config.json": {"model_type": "roberta"}, **parts},
        "gpt2": {"config.json": {"model_type": "gpt2"}, "tokenizer.json": byte_json(),
                 config: {"tokenizer_class": "GPT2Tokenizer"}},
        "gpt2-parts": {"config.json": {"model_type": "gpt2"}, **parts},
        "bytes": {"config.json": {"model_type": "bloom"}, "tokenizer.json": byte_json(),
                  config: generic},
        "llama": {"config.json": {"model_type": "llama"}, "tokenizer.json": llama_json(),
                  config: {"tokenizer_class": "LlamaTokenizer", "pad_token": "<unk>"}},
        "llama-generic": {"config.json": {"model_type": "llama"}, "tokenizer.json": llama_json(),
                          config: {**generic, "pad_token": "<unk>"}},
    }


def settings_cases(base, files):
    """Changes of the files beside the vocabulary."""
    is_bert = base.startswith(("bert", "generic"))
    # The first id that is free.
    free = len(WORDS) if is_bert else len((llama_pairs if "llama" in base else byte_pairs)()[0])
    config, map_file, added = ("tokenizer_config.json", "special_tokens_map.json",
                               "added_tokens.json")
    values = [
        ("tokenizer_class", ["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer",
                             "ElectraTokenizerFast", "RobertaTokenizer", "RobertaTokenizerFast",
                             "BartTokenizer", "LongformerTokenizerFast", "GPT2Tokenizer",
                             "GPT2TokenizerFast", "LlamaTokenizerFast", "BloomTokenizerFast",
                             "PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend",
                             "NobodysTokenizer", "CLIPTokenizer", "T5TokenizerFast", None, ""]),
        ("do_lower_case", [True, False]), ("strip_accents", [True, False, None]),
        ("tokenize_chinese_chars", [True, False]), ("add_prefix_space", [True, False]),
        ("trim_offsets", [False]), ("add_bos_token", [True, False]), ("add_eos_token", [True]),
        ("split_special_tokens", [True, False]),
        ("model_input_names", [["input_ids", "attention_mask"],
                               ["input_ids", "token_type_ids", "attention_mask"]]),
        ("model_max_length", [6, 512]), ("truncation_side", ["left", "right"]),
        ("padding_side", ["left", "right"]), ("clean_up_tokenization_spaces", [True, False]),
        ("do_basic_tokenize", [False]), ("never_split", [["hello"], None]), ("errors", ["strict"]),
        ("legacy", [True, False]), ("clean_text", [False]), ("use_fast", [False]),
        ("from_slow", [True]), ("max_length", [3]), ("stride", [2]), ("padding", ["max_length"]),
        ("truncation_strategy", ["only_first"]), ("pad_token_type_id", [3]),
        ("unk_token", ["[UNK]", "<unk>", "ab"]), ("mask_token", ["<mask>", "[MASK]", "ab", None]),
        ("cls_token", ["ab", "<s>"]), ("sep_token", ["ab", "</s>", "world"]),
        ("bos_token", ["<s>", "ab"]), ("eos_token", ["</s>", "ab"]),
        ("pad_token", ["<pad>", "[PAD]", "ab"]),
        ("mask_token", [{"__type": "AddedToken", **special("<mask>", lstrip=True)},
                        {"__type": "AddedToken", **token("ab", normalized=True)},
                        {"__type": "AddedToken", **special("[MASK]", lstrip=True, rstrip=True)}]),
        ("additional_special_tokens", [["<e1>", "</e1>"], ["<x>"], [],
                                       [{"__type": "AddedToken", **token("newtok")}]]),
        ("extra_special_tokens", [["<e1>"], ["<x>", "newtok"], {"image_token": "<e1>"}, []]),
        ("image_token", ["<e1>", "<x>"]), ("chat_template", ["{{ messages }}"]),
        ("sp_model_kwargs", [{}]), ("special_tokens_map_file", ["x.json"]),
        ("name_or_path", ["bert-base-cased"]), ("vocab_file", ["other.txt"]),
        ("spaces_between_special_tokens", [True]), ("wordpieces_prefix", ["@@"]),
        ("auto_map", [{"AutoTokenizer": ["a.T", None]}]),
        ("fast_tokenizer_files", [["tokenizer.json"], ["tokenizer.4.0.0.json"]]),
        ("post_processor", [None]), ("dropout", [0.5]), ("unheard_of", [1]),
    ]
    for key, choices in values:
        for value in choices:
            yield {config: {**files.get(config, {}), key: value}}
    decoder = "added_tokens_decoder"
    tables = [{str(free): token("newtok", normalized=True)}, {str(free): token("<x>")},
              {str(free): token("<x>", single_word=True)},
              {str(free): token("<x>", lstrip=True, rstrip=True)},
              {str(free): special("Newtok"), str(free + 1): token("newtok", normalized=True)},
              {str(free + 3): token("<x>")}, {"4": token("<x>")}, {},
              {str(free): {"content": "NEW", "special": False}},
              {str(free): {"content": "<x>", "special": True}}]
    for table in tables:
        yield {config: {**files.get(config, {}), decoder: table}}
        yield {config: {**files.get(config, {}), decoder: table}, map_file: {"mask_token": "ab"}}
        yield {config: {**files.get(config, {}), decoder: table}, added: {"<x>": free}}
    for value in [{"additional_special_tokens": ["<e1>", "</e1>"]}, {"sep_token": "ab"},
                  {"additional_special_tokens": ["<x>"]}, {"mask_token": special("ab", lstrip=True)},
                  {"extra_special_tokens": ["<e1>"]}, {"cls_token": token("world", normalized=True)},
                  {"additional_special_tokens": []}, {"image_token": "<x>"}, {"unk_token": "ab"},
                  {"do_lower_case": False}, {"mask_token": {"content": "<mask>", "lstrip": True}}]:
        yield {map_file: value}
        yield {map_file: value, added: {"<x>": free}}
    yield {map_file: {"additional_special_tokens": ["<e1>"]},
           config: {**files.get(config, {}), "additional_special_tokens": ["<x>"]}}
    yield {map_file: {"additional_special_tokens": ["<e1>"]},
           config: {**files.get(config, {}), "extra_special_tokens": ["<x>"]}}
    for value in [{"<x>": free}, {"newtok": free}, {"NEW": free, "<x>": free + 1},
                  {"<x>": free + 1, "newtok": free}, {"<x>": free + 7}, {"<e1>": 5}, {"<x>": 3}]:
        yield {added: value}
    for name in ["config.json", config]:
        if name in files:
            yield {name: None}
    for model_type in ["bert", "distilbert", "electra", "roberta", "bart", "gpt2", "opt", "llama",
                       "bloom", "mistral", "nobody"]:
        yield {"config.json": {"model_type": model_type}}
        yield {"config.json": {"model_type": model_type}, config: None}
    yield {"config.json": {**files["config.json"], "tokenizer_class": "BertTokenizer"}, config: None}
    yield {"config.json": {**files["config.json"], "tokenizer_class": "PreTrainedTokenizerFast"},
           config: None}


def json_cases(files):
    """Changes of tokenizer.json."""
    stored = files["tokenizer.json"]

    def changed(path, value):
        result = copy.deepcopy(stored)
        place = result
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        return {"tokenizer.json": result}

    regex = {"Regex": "l+|\\d"}
    normalizers = [
        None, *({"type": name} for name in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase",
                                            "StripAccents", "Nmt"]),
        {"type": "Strip", "strip_left": True, "strip_right": False},
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"String": "hello"}, "content": "ab"},
        {"type": "Replace", "pattern": {"String": "b"}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
        {"type": "Replace", "pattern": regex, "content": "a"}, {"type": "Prepend", "prepend": "ab"},
        {"type": "Precompiled", "precompiled_charsmap": ""},
        {"type": "ByteLevel"},
        {"type": "BertNormalizer", "clean_text": False, "handle_chinese_chars": False,
         "strip_accents": False, "lowercase": False},
        {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": False,
         "strip_accents": True, "lowercase": False}]
    normalizers += [{"type": "Sequence", "normalizers": steps} for steps in [
        [], [{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}],
        [{"type": "NFKC"}, {"type": "Lowercase"}], [{"type": "NFD"}, {"type": "StripAccents"},
                                                   {"type": "NFC"}],
        [{"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Lowercase"}],
        [{"type": "Prepend", "prepend": "\u2581"},
         {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}],
        [{"type": "Sequence", "normalizers": [{"type": "NFKD"}]}, {"type": "StripAccents"}]]]
    for value in normalizers:
        yield changed(["normalizer"], value)
    behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
    simple = [{"type": name} for name in ["BertPreTokenizer", "Whitespace", "WhitespaceSplit"]]
    simple += [{"type": "Punctuation", "behavior": behavior} for behavior in behaviors]
    simple += [{"type": "Digits", "individual_digits": value} for value in [True, False]]
    simple += [{"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
               for behavior in behaviors for invert in [True, False]
               for pattern in [{"String": "l"}, regex]]
    simple += [{"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme,
                "split": split} for scheme in ["always", "first", "never"]
               for split in [True, False]]
    simple += [{"type": "CharDelimiterSplit", "delimiter": "l"}, {"type": "UnicodeScripts"}]
    byte_levels = [{"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True,
                    "use_regex": use} for prefix in [True, False] for use in [True, False]]
    if stored["model"]["type"] == "WordPiece" or stored["model"]["byte_fallback"]:
        steps = [None, *simple, byte_levels[0]]
        steps += [{"type": "Sequence", "pretokenizers": [first, second]}
                  for first in simple[1:3] for second in simple[3:]]
    else:
        steps = [None, *byte_levels, simple[0]]
        steps += [{"type": "Sequence", "pretokenizers": [first, last]}
                  for first in simple for last in (byte_levels if first in simple[:9] else
                                                   byte_levels[1::2])]
        steps += [{"type": "Sequence", "pretokenizers": [byte_levels[2], simple[8]]}]
    for value in steps:
        yield changed(["pre_tokenizer"], value)
    yield from model_cases(stored, changed)
    cls, sep = (["[CLS]", 2], ["[SEP]", 3]) if "[CLS]" in stored["model"]["vocab"] else \
        (["<s>", stored["model"]["vocab"]["<s>"]], ["</s>", 2])
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                  "use_regex": True}
    for value in [None, {"type": "BertProcessing", "sep": sep, "cls": cls}, byte_level,
                  {"type": "RobertaProcessing", "sep": sep, "cls": cls, "trim_offsets": False,
                   "add_prefix_space": True},
                  {"type": "Sequence", "processors": [
                      byte_level, {"type": "BertProcessing", "sep": sep, "cls": cls}]}]:
        yield changed(["post_processor"], value)
    yield changed(["truncation"], {"direction": "Right", "max_length": 4, "stride": 0,
                                   "strategy": "LongestFirst"})
    yield changed(["truncation"], {"direction": "Left", "max_length": 4, "stride": 0,
                                   "strategy": "LongestFirst"})
    free = len(stored["model"]["vocab"])
    for added in [[{"id": free, **token("<x>", normalized=True)}], [{"id": free + 4, **token("<x>")}],
                  [{"id": 1, **special("<x>")}],
                  [{"id": free, **token("ab", lstrip=True)}],
                  [{"id": free, **special("NEW", normalized=True)},
                   {"id": free + 1, **token("newtok", single_word=True)}]]:
        yield changed(["added_tokens"], stored["added_tokens"] + added)
    yield changed(["added_tokens"], [])


def model_cases(stored, changed):
    if stored["model"]["type"] == "WordPiece":
        values = [("unk_token", ["ab", "no such"]), ("continuing_subword_prefix", ["@@", ""]),
                  ("max_input_chars_per_word", [3, 0])]
    else:
        values = [("unk_token", ["<unk>", "ab", None, "no such"]), ("fuse_unk", [True, False]),
                  ("byte_fallback", [True, False]), ("ignore_merges", [True]),
                  ("dropout", [0.0, 1.0]), ("continuing_subword_prefix", ["##"]),
                  ("end_of_word_suffix", ["</w>"]), ("merges", [[], stored["model"]["merges"][:3]])]
    for key, choices in values:
        for value in choices:
            yield changed(["model", key], value)
    if stored["model"]["type"] == "BPE":
        for fallback in [True, False]:
            for fuse in [True, False]:
                part = {**stored["model"], "unk_token": "<unk>", "byte_fallback": fallback,
                        "fuse_unk": fuse}
                part["vocab"] = {text: i for text, i in part["vocab"].items() if text != "<0xF0>"}
                yield changed(["model"], part)


def text_cases(base, files):
    """Changes of vocab.txt."""
    text = files["vocab.txt"]
    yield {"vocab.txt": text + "\n"}
    yield {"vocab.txt": text.replace("world\n", "world  \n")}
    yield {"vocab.txt": text.replace("world\n", "\n")}
    yield {"vocab.txt": text.replace("\n", "\r\n")}
    yield {"vocab.txt": text[:-1]}
    yield {"vocab.txt": text + "hello\n"}
    yield {"vocab.txt": text.replace("[MASK]\n", "[M]\n")}
    yield {"vocab.txt": text.replace("[UNK]\n", "[U]\n")}
    yield {"vocab.txt": text.replace("[SEP]\n", "[S]\n")}
    yield {"vocab.txt": text + "\n", "added_tokens.json": {"<x>": len(WORDS) + 1}}


def all_cases():
    """Pairs of the name of a base and the files that are put in the place of its own."""
    for base, files in bases().items():
        yield base, {}
        for change in settings_cases(base, files):
            yield base, change
        if "tokenizer.json" in files:
            for change in json_cases(files):
                yield base, change
        if "vocab.txt" in files:
            for change in text_cases(base, files):
                yield base, change


def difference(old, new):
    """A JSON Patch that makes `new` of `old`; both are objects or the whole is replaced."""
    patch = []

    def walk(path, left, right):
        if left == right and type(left) is type(right):
            return
        if not (isinstance(left, dict) and isinstance(right, dict)):
            patch.append({"op": "replace", "path": path, "value": right})
            return
        for key in left.keys() | right.keys():
            step = path + "/" + key.replace("~", "~0").replace("/", "~1")
            if key not in right:
                patch.append({"op": "remove", "path": step})
            elif key not in left:
                patch.append({"op": "add", "path": step, "value": right[key]})
            else:
                walk(step, left[key], right[key])

    walk("", old, new)
    return sorted(patch, key=lambda step: step["path"])


def write_folder(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name, content in files.items():
        if content is None:
            continue
        with open(os.path.join(folder, name), "w", encoding="utf-8", newline="") as out:
            out.write(content if isinstance(content, str) else json.dumps(content))


def results(folder, all_texts):
    """Ids and types of every text, or None when transformers fails."""
    from transformers import AutoTokenizer
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        found = []
        for texts in all_texts:
            encoding = tokenizer(*texts)
            ids = encoding["input_ids"]
            if any(one is None for one in ids):
                return None
            found.append([ids, encoding.get("token_type_ids", [0] * len(ids))])
        return found
    except BaseException as error:  # panics of the library are no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


def drawn_cases(most):
    """`most` of all cases (0: all), drawn evenly and always in the same order."""
    cases = list(all_cases())
    plain = [case for case in cases if not case[1]]
    others = [case for case in cases if case[1]]
    random.Random(1).shuffle(others)
    return plain + (others[:most] if most else others)


def found_for(folder, files, texts):
    write_folder(folder, files)
    found = results(folder, texts)
    # Most results occur often: they are stored the first time, under a name.
    return found, hashlib.sha256(json.dumps(found).encode()).hexdigest()[:10]


def generate(out, most):
    known = bases()
    write = lambda line: print(json.dumps(line, separators=(",", ":")), file=out, flush=True)
    write({"bases": known, "texts": TEXTS})
    seen = set()
    with tempfile.TemporaryDirectory() as folder:
        for base, change in drawn_cases(most):
            files = {**known[base], **change}
            found, name = found_for(os.path.join(folder, "model"), files, TEXTS)
            line = {"base": base, "change": {}, "result": name}
            for file, content in change.items():
                old = known[base].get(file)
                is_patch = isinstance(content, dict) and isinstance(old, dict)
                line["change"][file] = difference(old, content) if is_patch else content
            if name not in seen:
                line["found"] = found
            seen.add(name)
            write(line)


def patched(old, change):
    """Applies a JSON Patch of difference()."""
    result = copy.deepcopy(old)
    for step in change:
        keys = [key.replace("~1", "/").replace("~0", "~") for key in step["path"].split("/")[1:]]
        if not keys:
            result = step["value"]
            continue
        place = result
        for key in keys[:-1]:
            place = place[key]
        if step["op"] == "remove":
            del place[keys[-1]]
        else:
            place[keys[-1]] = step["value"]
    return result


def check(lines):
    """The numbers of the stored lines that the installed transformers sees otherwise."""
    known, texts = (json.loads(lines[0])[key] for key in ["bases", "texts"])
    stored, differing = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(lines[1:], 2):
            line = json.loads(text)
            files = dict(known[line["base"]])
            for file, content in line["change"].items():
                is_patch = isinstance(content, list)
                files[file] = patched(files[file], content) if is_patch else content
            if "found" in line:
                stored[line["result"]] = line["found"]
            found, _ = found_for(os.path.join(folder, "model"), files, line.get("texts", texts))
            if found != stored[line["result"]]:
                differing.append(number)
    return differing


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("golden")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--most", type=int, default=0, help="so many changes only, drawn evenly")
    options = parser.parse_args()
    try:
        import transformers
    except ImportError:
        print("SKIPPED: tokenizer_keys.py needs transformers")
        sys.exit(77)
    if not options.check:
        with open(options.golden, "w", encoding="utf-8") as out:
            generate(out, options.most)
        return
    with open(options.golden, encoding="utf-8") as stored:
        lines = stored.read().splitlines()
    differing = check(lines)
    print(f"{len(lines) - 1} folders, transformers {transformers.__version__}, "
          f"{len(differing)} differ: lines {differing[:20]}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
