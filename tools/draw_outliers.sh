#!/usr/bin/env bash
# Draws the outliers that a run recorded: draw_outliers.sh RUN_FOLDER writes RUN_FOLDER/outliers.png.
# Installs h5py, pandas and matplotlib from Debian or Ubuntu where they are missing and root may do so.
set -euo pipefail

folder=$1
root=$(cd "$(dirname "$0")/.." && pwd)
modules="import h5py, matplotlib, pandas"

find_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c "$modules" 2> /dev/null; then
      echo "$python"
      return
    fi
  done
}

python=$(find_python)
if [[ -z $python ]] && command -v apt-get > /dev/null && ((EUID == 0)); then
  echo "Installing packages: python3-h5py python3-matplotlib python3-pandas"
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    python3-h5py python3-matplotlib python3-pandas > /dev/null 2>&1 || true
  python=$(find_python)
fi
if [[ -z $python ]]; then
  echo "No picture of the outliers: it needs Python with h5py, pandas and matplotlib."
  exit 0
fi
PYTHONPATH=$root/analysis "$python" -W ignore -m quell_analysis figure \
  "$folder/outliers.h5" "$folder/outliers.png"
echo
echo "Outlier channels, tokens and gammas: $folder/outliers.png"
