#!/usr/bin/env python3
"""Turns a file of articles into a copying task: the first sentence of each is its summary.

A small model can learn this task, so that ROUGE says something about its quantization. The article's
sentences are joined by single blanks.

    tools/first_sentences.py articles.jsonl copying.jsonl [--column document]
"""
import argparse
import json
import re

SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')\]]))\s+(?=[A-Z0-9\"'])")


def sentences(text):
    for line in text.split("\n"):
        for sentence in SENTENCE_END.split(line.strip()):
            if sentence:
                yield sentence


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("articles", help="JSON lines")
    parser.add_argument("output", help="JSON lines with document, summary and the id of the article")
    parser.add_argument("--column", default="document", help="of the articles (document)")
    arguments = parser.parse_args()
    with open(arguments.articles, encoding="utf-8") as source, \
            open(arguments.output, "w", encoding="utf-8") as output:
        for line in source:
            row = json.loads(line)
            found = list(sentences(row[arguments.column]))
            # An empty article stays one, so that rows keep their numbers.
            row = {"document": " ".join(found), "summary": found[0] if found else "",
                   "id": row.get("id", "")}
            output.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
