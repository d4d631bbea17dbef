#!/usr/bin/env python3
"""Sums up the GoogleTest results of a folder: what was skipped and why, and how many passed."""

import collections
import json
import pathlib
import sys


def main():
    counts = collections.Counter()
    for file in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
        for suite in json.loads(file.read_text(encoding="utf-8"))["testsuites"]:
            for test in suite["testsuite"]:
                name = f"{test['classname']}.{test['name']}"
                if test["result"] == "SKIPPED":
                    counts["skipped"] += 1
                    reasons = [entry["message"].strip().splitlines()[-1] for entry in test.get("skipped", [])]
                    print(f"skipped: {name}: {'; '.join(reasons) or 'no reason given'}")
                elif test.get("failures"):
                    counts["failed"] += 1
                    print(f"failed: {name}")
                else:
                    counts["passed"] += 1
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")


if __name__ == "__main__":
    main()
