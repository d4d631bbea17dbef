#!/usr/bin/env bash
# Prints a Python that has transformers, PyTorch and compressed-tensors. They take 5 GB: they are installed, into
# a folder of QUELL_CACHE, only where QUELL_LARGE_PACKAGES is set. Prints nothing where they are not there.
set -euo pipefail

packages=(transformers==5.24.0 torch==2.11.0 compressed-tensors==0.20.0 accelerate==1.15.0)
folder=${QUELL_CACHE:-$HOME/.cache/quell}/transformers-1

if [[ ! -e $folder/complete && -n ${QUELL_LARGE_PACKAGES:-} ]]; then
  rm -rf "$folder"
  { python3 -m venv "$folder" &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" &&
    touch "$folder/complete"; } > /dev/null 2>&1 || true
fi
if [[ -e $folder/complete ]]; then echo "$folder/bin/python"; fi
