#!/usr/bin/env bash
# Puts the program, the benchmarks that are built (`make benchmarks`), and the libraries that they
# need beside LibTorch into a folder that can be carried to a machine with a GPU where nothing is
# installed but PyTorch 2.11 for CUDA 13:
#   tools/gpu/pack.sh FOLDER [PROGRAM]    then, there: tools/gpu/models.sh FOLDER/quell
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:?a folder to pack into} program=${2:-build/quell}
rm -rf "$folder"
mkdir -p "$folder/lib"
strip -o "$folder/quell" "$program"
shopt -s nullglob
for benchmark in forward published_pipeline; do
  built=$(dirname "$program")/tests/${benchmark}_benchmark
  if [[ -e $built ]]; then strip -o "$folder/${benchmark}_benchmark" "$built"; fi
done
# Those of LibTorch come with PyTorch, those of the C library with the machine.
ldd "$folder"/{quell,*_benchmark} | awk '$3 ~ /^\// {print $3}' | sort -u |
  grep -v -e /torch/ -e /nvidia/ -e '/lib\(c\|m\|dl\|rt\|pthread\|util\|resolv\)\.so' |
  while read -r library; do cp -L "$library" "$folder/lib"; done
du -sh "$folder"
