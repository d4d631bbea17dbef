"""python -m quell_analysis: figures and tables of outliers.h5."""
from __future__ import annotations

import argparse
import sys

from quell_analysis import OutlierFile

TABLE_COLUMNS = ["stage", "site", "std", "min", "max", "reach", "kurtosis"]


def print_table(file: OutlierFile) -> None:
    sites = file.sites()
    counts = [column for column in sites if column.startswith("beyond_")]
    print(sites[TABLE_COLUMNS + counts].to_string(index=False, float_format="{:.4g}".format))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m quell_analysis", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    figure = verbs.add_parser("figure", help="draw outlier channels, tokens and gamma")
    figure.add_argument("file", help="outliers.h5 of a run")
    figure.add_argument("output", help="the picture: .png, .pdf or .svg")
    figure.add_argument("--stage", default="float", help="of the run (float)")
    figure.add_argument("--role", default="attention.norm",
                        help="the part of each layer that is shown (attention.norm)")
    figure.add_argument("--sigma", type=float, default=6,
                        help="how many standard deviations make an outlier (6)")
    table = verbs.add_parser("table", help="print a row per stage and activation")
    table.add_argument("file", help="outliers.h5 of a run")
    options = parser.parse_args()
    try:
        with OutlierFile(options.file) as file:
            if options.verb == "table":
                print_table(file)
            else:
                import matplotlib

                matplotlib.use("Agg")
                from quell_analysis.figures import draw_outliers

                draw_outliers(file, options.output, options.stage, options.role, options.sigma)
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
