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
modules="import h5py, ipykernel, matplotlib, nbclient, nbformat, pandas"
packages=(python3-h5py python3-ipykernel python3-matplotlib python3-nbclient python3-nbformat
  python3-pandas)

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
  echo "Installing packages: ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get install -qq -y --no-install-recommends "${packages[@]}" ||
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${packages[@]}"; }; } \
    > /dev/null 2>&1 || true
  python=$(find_python)
fi
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
