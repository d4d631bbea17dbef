#!/usr/bin/env bash
# Runs the notebooks of analysis/notebooks: notebooks.sh QUELL RUNS [KEY=VALUE...]
# Makes what they read in the folder RUNS where it is missing, with the program QUELL and with these
# settings, and writes notebooks with figures, and the figures alone, into RUNS/notebooks. Installs the
# Python packages from Debian or Ubuntu where they are missing and root may do so; exit code 77 where
# it cannot.
set -euo pipefail

quell=$(realpath "$1")
mkdir -p "$2"
runs=$(realpath "$2")
root=$(cd "$(dirname "$0")/.." && pwd)
settings=()
for setting in "${@:3}"; do settings+=(--set "$setting"); done

python=$("$root/tools/python_with.sh" h5py ipykernel matplotlib nbclient nbformat pandas)
if [[ -z $python ]]; then
  echo "No notebooks: they need Python with h5py, ipykernel, matplotlib, nbclient, nbformat and pandas."
  exit 77
fi

cd "$root"
"$quell" run experiments/quickstart/outliers.yaml --output "$runs/quickstart-outliers" --resume \
  --quiet "${settings[@]}"
echo "A sweep of 36 cells, and the sensitivity of 9 groups at 5 bit widths: some minutes."
"$quell" sweep experiments/sweeps/quickstart.yaml --output "$runs/quickstart-sweep" \
  --workers "$(nproc)" --quiet "${settings[@]}"
sensitivity=("$quell" sensitivity experiments/quickstart/activations.yaml --quiet
  --output "$runs/quickstart-activations-sensitivity" "${settings[@]}")
"${sensitivity[@]}" --bits 4
"${sensitivity[@]}" --bits 6 5 3 2 --only alone > /dev/null
"$python" -W ignore tools/run_notebooks.py "$runs" "$runs/notebooks"
