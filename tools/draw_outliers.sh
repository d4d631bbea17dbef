#!/usr/bin/env bash
# Draws the outliers that a run recorded: draw_outliers.sh RUN_FOLDER writes RUN_FOLDER/outliers.png.
# Installs h5py, pandas and matplotlib from Debian or Ubuntu where they are missing and root may do so.
set -euo pipefail

folder=$1
root=$(cd "$(dirname "$0")/.." && pwd)
python=$("$root/tools/python_with.sh" h5py matplotlib pandas)
if [[ -z $python ]]; then
  echo "No picture of the outliers: it needs Python with h5py, pandas and matplotlib."
  exit 0
fi
PYTHONPATH=$root/analysis "$python" -W ignore -m quell_analysis figure \
  "$folder/outliers.h5" "$folder/outliers.png"
echo
echo "Outlier channels, tokens and gammas: $folder/outliers.png"
