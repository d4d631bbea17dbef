"""Writes the inputs of tests/data/fuzz/<target>: small files of every kind that a reader meets, whole
and damaged. Needs h5py (any version). Run in the folder of this file."""

import io
import json
import pathlib
import struct
import zipfile

import h5py
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parent
EXPERIMENTS = DATA.parent.parent / "experiments"


def put(target, name, content):
    folder = HERE / target
    folder.mkdir(exist_ok=True)
    if isinstance(content, str):
        content = content.encode()
    (folder / name).write_bytes(content)


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def safetensors(header, data):
    header = compact(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def message(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


def number(field, value):
    return (bytes([field << 3]) if field < 16 else bytes([(field << 3 & 0x7F) | 0x80, field >> 4])) + bytes([value])


def make_sentence_pieces():
    def piece(text, score, kind):
        return message(1, message(1, text.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", score) + number(3, kind))

    pieces = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + piece("<0x41>", 0, 6)
    for rank, text in enumerate(["\u2581a", "na", "\u2581", "a", "n", "\u00ef", "12"]):
        pieces += piece(text, -rank, 1)
    keeps_blanks = message(3, number(4, 0))
    for name, algorithm in (("unigram", 1), ("byte_pairs", 2)):
        put("sentence_piece", name, pieces + message(2, number(3, algorithm) + number(35, 1)) + keeps_blanks)
    put("sentence_piece", "cut_off", pieces[:-3])


def make_tensors():
    put("safetensors", "types", safetensors(
        {"__metadata__": {"format": "pt"}, "a.weight": tensor("F32", [2, 2], 0, 16),
         "h": tensor("F16", [3], 16, 22), "m": tensor("BOOL", [2], 22, 24),
         "ids": tensor("I64", [1], 24, 32)}, bytes(range(32))))
    put("safetensors", "empty", safetensors({}, b""))
    put("safetensors", "overlap", safetensors(
        {"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 2, 6)}, b"123456"))
    put("safetensors", "beyond", safetensors({"a": tensor("F32", [2**62, 2], 0, 8)}, b"12345678"))
    put("safetensors", "length", struct.pack("<Q", 2**63) + b"{}")
    for name in ("state_zip", "state_old", "harmful", "nested", "single"):
        content = (DATA / "io" / f"{name}.bin").read_bytes()
        put("torch_file", name, content)
        if zipfile.is_zipfile(io.BytesIO(content)):
            archive = zipfile.ZipFile(io.BytesIO(content))
            for entry in archive.namelist():
                if entry.endswith("data.pkl"):
                    put("pickle", name, archive.read(entry))


def special(index, content):
    return {"id": index, "content": content, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False, "special": True}


def make_byte_level():
    """The pieces of a folder are divided by zero bytes, see fuzz/fuzz.h."""
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokens = names + list("Don'tĠaÃ¯vewrd12!bs")
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens + ["on", "Ġa", "Ġw"]))}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    merges = ["o n", "Ġ a", "Ġ w"]
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [special(i, name) for i, name in enumerate(names)],
        "normalizer": None, "pre_tokenizer": byte_level,
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
                           "trim_offsets": True, "add_prefix_space": False},
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
                  "vocab": vocabulary, "merges": merges}}
    config = {"tokenizer_class": "RobertaTokenizerFast", "model_max_length": 512,
              "pad_token": "<pad>"}
    put("tokenizer_json", "byte_level", compact(tokenizer) + "\0" + compact(config))
    split = {"type": "Split", "pattern": {"Regex": "\\s+|\\w+"}, "behavior": "Isolated",
             "invert": False}
    put("tokenizer_json", "sequences", compact(tokenizer | {
        "normalizer": {"type": "Sequence",
                       "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence",
                          "pretokenizers": [split, byte_level | {"use_regex": False}]}}))
    put("vocabulary", "roberta", compact(vocabulary) + "\0#version: 0.2\n" + "\n".join(merges) +
        "\n\0" + compact({"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}))


def make_word_piece():
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = names + ["don", "'", "t", "a", "naive", "word", "12", "!", "##d", "東", "京", "na"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    cls, sep = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]"))
    first = [cls, {"Sequence": {"id": "A", "type_id": 0}}, sep]
    second = [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
             "max_input_chars_per_word": 100, "vocab": vocabulary}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [special(i, name) for i, name in enumerate(names)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing", "single": first, "pair": first + second,
            "special_tokens": {name: {"id": name, "ids": [i], "tokens": [name]}
                               for i, name in ((2, "[CLS]"), (3, "[SEP]"))}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}, "model": model}
    config = {"do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None}
    put("tokenizer_json", "word_piece", compact(tokenizer) + "\0" + compact(config))
    gap = tokenizer | {"model": model | {"vocab": vocabulary | {"far": 1000}}}
    put("tokenizer_json", "ids_with_a_gap", compact(gap))
    put("vocabulary", "bert", "\n".join(tokens) + "\n\0" +
        compact({"do_lower_case": False, "model_max_length": 8}))
    put("vocabulary", "windows_line_ends", "\r\n".join(tokens))
    put("vocabulary", "repeated", "\n".join(names + ["a", "a"]))


def make_yaml():
    put("yaml", "published", (DATA / "import/mse.yaml").read_bytes())
    for name in ("quickstart/w4a4", "quickstart/outliers", "sweeps/quickstart"):
        put("yaml", name.replace("/", "_"), (EXPERIMENTS / f"{name}.yaml").read_bytes())
    put("yaml", "alias", "a: &x [1, 2]\nb: *x\n")
    put("yaml", "deep", "[" * 300)
    put("yaml", "repeated", "a: 1\na: 2\n")
    put("yaml", "tag", '!!binary "aGk="\n')
    put("yaml", "not_utf8", b"a: \xff\xfe\n")


def make_tables():
    put("glue", "sst2", "sentence\tlabel\nit 's charming . \t1\n\nun\"even\t0\n")
    put("glue", "cola", "gj04\t1\t\tThe sailors rode.\ngj04\t0\t*\tSailors the.\n")
    put("glue", "stsb", "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\t"
        "sentence2\tscore\n0\tm\tf\t2012\t1\tn\tn\tA man.\tA woman.\t2.5\n")
    put("glue", "windows_line_ends", "\ufeffsentence1\tsentence2\tgold_label\r\nA\tB\tneutral\r\n")
    put("glue", "rows", '{"sentence": "fine", "label": 1}\n{"sentence": "bad", "label": -1}\n')
    put("glue", "pairs", '{"sentence1": "a", "sentence2": "b", "label": 2.5}\n{"premise": "x"}\n')
    put("glue", "not_utf8", b"sentence\tlabel\ncaf\xe9\t1\n")
    put("glue", "utf16", "sentence\tlabel\na\t1\n".encode("utf-16"))
    put("summaries", "rows", '{"document": "A baker opened.", "summary": "Opened.", "id": "a0"}\n'
        '{"document": "", "summary": null}\n')
    put("summaries", "list", '[{"article": "A", "highlights": "B"}, {"article": 3}]')
    put("summaries", "quoted", 'id,article,highlights\n1,"A ""quoted"", text\nof two lines",b\n\n2,b,c\n')
    put("summaries", "open_quote", 'text,summary\n"never ends\n')
    question = {"id": "1", "question": "Who?", "is_impossible": False,
                "answers": [{"text": "dog", "answer_start": 10}]}
    impossible = {"id": "2", "question": "Why?", "is_impossible": True, "answers": [],
                  "plausible_answers": [{"text": "sat", "answer_start": 14}]}
    put("squad", "official", compact({"version": "v2.0", "data": [{"title": "T", "paragraphs": [
        {"context": "The naïve dog sat.", "qas": [question, impossible]}]}]}))
    row = {"id": "1", "title": "T", "context": "A b c", "question": "q",
           "answers": {"text": ["b"], "answer_start": [2]}}
    put("squad", "rows", compact({"data": [row, row | {"id": "2", "context": ""}]}))
    put("squad", "uneven", compact({"data": [row | {"answers": {"text": ["b", "c"],
                                                                 "answer_start": [2]}}]}))


def make_sweep_index():
    cell = {"folder": "bits=8_seed=1", "settings": {"bits": "8", "seed": "1"}, "status": "done",
            "fingerprint": "0123456789abcdef"}
    index = {"format": "quell sweep", "version": 1, "name": "s", "file": "s.yaml", "code": "0.1.0",
             "axes": [["bits"], ["seed"]], "cells": [cell, cell | {"folder": "bits=6_seed=1"}]}
    put("sweep_index", "two_cells", json.dumps(index, indent=2) + "\n")
    put("sweep_index", "elsewhere", compact(index | {"cells": [cell | {"folder": "../../etc"}]}))
    put("sweep_index", "other_types", compact(index | {"axes": {"a": 1}, "cells": [1]}))
    put("sweep_index", "future", compact(index | {"version": 2}))


def make_hdf5():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="earliest") as file:
        file.attrs["format"] = "fuzz"
        group = file.create_group("sites")
        group["scale"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        group["half"] = np.arange(3, dtype=np.float16)
        group["flags"] = np.array([True, False])
        group["count"] = np.int64(7)
        group["names"] = np.array(["a", "é"], dtype=h5py.string_dtype())
        group["scale"].attrs["unit"] = "1"
    put("hdf5", "kinds", buffer.getvalue())
    put("hdf5", "cut", buffer.getvalue()[:1000])
    put("hdf5", "signature", buffer.getvalue()[:8])


make_tensors()
make_sentence_pieces()
make_byte_level()
make_word_piece()
make_yaml()
make_tables()
make_sweep_index()
make_hdf5()
