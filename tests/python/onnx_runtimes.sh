#!/usr/bin/env bash
# Prints a Python that has onnxruntime and OpenVINO, installed into a folder of QUELL_CACHE where they are
# missing. Prints nothing where they cannot be had.
set -euo pipefail

packages=(onnxruntime==1.31.1 openvino==2026.4.1 numpy==2.4.6)
folder=${QUELL_CACHE:-$HOME/.cache/quell}/onnx-runtimes-1

if [[ ! -e $folder/complete ]]; then
  rm -rf "$folder"
  { python3 -m venv "$folder" &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" &&
    touch "$folder/complete"; } > /dev/null 2>&1 || exit 0
fi
echo "$folder/bin/python"
