"""Data as the Hugging Face Hub serves them: Parquet in folders like sst2/train-00000-of-00001.parquet.

usage: hub_layout.py glue NAME TRAIN.tsv DEV.tsv OUT_FOLDER
       hub_layout.py squad DEV.json OUT_FOLDER
       hub_layout.py xsum TEST.jsonl OUT_FOLDER
       hub_layout.py small OUT_FOLDER          the files of this folder

Needs pyarrow. Schemas are those of nyu-mll/glue, rajpurkar/squad and EdinburghNLP/xsum.
"""
import csv
import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq

GLUE = {  # columns of the TSV -> columns of the Hub, names of the classes
    "sst2": ({"sentence": "sentence"}, "label", ["negative", "positive"]),
    "mrpc": ({"#1 String": "sentence1", "#2 String": "sentence2"}, "Quality", ["not_equivalent", "equivalent"]),
    "rte": ({"sentence1": "sentence1", "sentence2": "sentence2"}, "label", ["entailment", "not_entailment"]),
    "stsb": ({"sentence1": "sentence1", "sentence2": "sentence2"}, "score", None),
    "cola": ({"sentence": "sentence"}, "label", ["unacceptable", "acceptable"]),
}


def write(folder, split, columns, schema, features, shards=1):
    """Writes one split; the metadata are what `datasets` leaves there."""
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    table = pa.table(columns, schema=schema)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(shards):
        begin, end = table.num_rows * i // shards, table.num_rows * (i + 1) // shards
        pq.write_table(table.slice(begin, end - begin), folder / f"{split}-{i:05}-of-{shards:05}.parquet")


def glue_split(name, path, folder, split, shards=1):
    texts, label, classes = GLUE[name]
    with open(path, encoding="utf-8-sig", newline="") as file:
        if name == "cola":
            rows = [dict(zip(["source", "label", "mark", "sentence"], line.rstrip("\r\n").split("\t"))) for line in file]
        else:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    columns = {new: [row[old] for row in rows] for old, new in texts.items()}
    fields = [(new, pa.string()) for new in columns]
    features = {new: {"dtype": "string", "_type": "Value"} for new in columns}
    if classes:
        known = {word: i for i, word in enumerate(classes)}
        columns["label"] = [known[row[label]] if row[label] in known else int(row[label]) for row in rows]
        fields.append(("label", pa.int64()))
        features["label"] = {"names": classes, "_type": "ClassLabel"}
    else:
        columns["label"] = [float(row[label]) for row in rows]
        fields.append(("label", pa.float32()))
        features["label"] = {"dtype": "float32", "_type": "Value"}
    columns["idx"] = list(range(len(rows)))
    fields.append(("idx", pa.int32()))
    write(folder / name, split, columns, pa.schema(fields), features, shards)


def squad_rows(path):
    for article in json.load(open(path, encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield {"id": question["id"], "title": article["title"], "context": paragraph["context"],
                       "question": question["question"],
                       "answers": {"text": [answer["text"] for answer in question["answers"]],
                                   "answer_start": [answer["answer_start"] for answer in question["answers"]]}}


def squad(rows, folder, split):
    rows = list(rows)
    answers = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
    schema = pa.schema([(key, pa.string()) for key in ("id", "title", "context", "question")] + [("answers", answers)])
    write(folder / "plain_text", split, {key: [row[key] for row in rows] for key in schema.names}, schema, {})


def xsum(path, folder, split):
    rows = [json.loads(line) for line in open(path, encoding="utf-8")]
    schema = pa.schema([("document", pa.string()), ("summary", pa.string()), ("id", pa.string())])
    columns = {key: [row[key] if key != "id" else str(row[key]) for row in rows] for key in schema.names}
    write(folder / "data", split, columns, schema, {}, shards=3)


def small(folder):
    """A GLUE folder with shards and hidden labels, a question with and one without an answer, and all kinds of values."""
    label = {"label": {"names": ["negative", "positive"], "_type": "ClassLabel"}}
    schema = pa.schema([("sentence", pa.string()), ("label", pa.int64()), ("idx", pa.int32())])
    write(folder / "sst2", "train", {"sentence": ["caf\u00e9 noir", "dull", "fine"], "label": [1, 0, 1], "idx": [0, 1, 2]},
          schema, label, shards=2)
    write(folder / "sst2", "validation", {"sentence": ["good", "bad"], "label": [1, 0], "idx": [0, 1]}, schema, label)
    write(folder / "sst2", "test", {"sentence": ["secret"], "label": [-1], "idx": [0]}, schema, label)
    question = {"title": "T", "context": "The city lies in \u00d6land.", "question": "Where?"}
    squad([{"id": "a", **question, "answers": {"text": ["\u00d6land"], "answer_start": [17]}},
           {"id": "b", **question, "answers": {"text": [], "answer_start": []}}], folder, "validation")
    kinds = pa.table({
        "word": pa.array(["x", None, "y", "x"]).dictionary_encode(),
        "large": pa.array(["a", "b", None, "d"], pa.large_string()),
        "flag": pa.array([True, False, None, True]),
        "small": pa.array([-1, 2, 3, 127], pa.int8()),
        "float": pa.array([3.8, 0.1, None, 1e-7], pa.float32()),
        "double": pa.array([3.8, 0.1, None, -2.5]),
        "list": pa.array([[1, 2], [], None, [3]], pa.list_(pa.int32())),
        "nothing": pa.nulls(4),
        "day": pa.array([0, 1, 2, 3], pa.date32()),
    })
    pq.write_table(kinds, folder / "kinds.parquet", compression="zstd", data_page_version="2.0", row_group_size=3)


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    out = pathlib.Path(arguments[-1])
    if kind == "glue":
        glue_split(arguments[0], arguments[1], out, "train", shards=2)
        glue_split(arguments[0], arguments[2], out, "validation")
    elif kind == "squad":
        squad(squad_rows(arguments[0]), out, "validation")
    elif kind == "xsum":
        xsum(arguments[0], out, "validation")
    else:
        small(out)
