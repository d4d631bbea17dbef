#!/usr/bin/env python3
"""Sums up the GoogleTest results of a folder: what was skipped and why, and how many passed."""

import collections
import pathlib
import sys
import xml.etree.ElementTree


def main():
    counts = collections.Counter()
    for file in sorted(pathlib.Path(sys.argv[1]).glob("*.xml")):
        for test in xml.etree.ElementTree.parse(file).iter("testcase"):
            name = f"{test.get('classname')}.{test.get('name')}"
            skipped = test.find("skipped")
            if skipped is not None:
                counts["skipped"] += 1
                print(f"skipped: {name}: {skipped.get('message', '').splitlines()[-1]}")
            elif test.find("failure") is not None:
                counts["failed"] += 1
                print(f"failed: {name}")
            else:
                counts["passed"] += 1
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")


if __name__ == "__main__":
    main()
