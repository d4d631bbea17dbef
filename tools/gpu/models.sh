#!/usr/bin/env bash
# Runs models of every family on a GPU and on the CPU, with LibTorch's operations on both, and says
# how far apart they are and how long they took. Exit code 77 without a GPU.
#   tools/gpu/models.sh [PROGRAM [FOLDER]]      default: build/quell, runs/gpu
# A program that tools/gpu/pack.sh packed takes LibTorch from PyTorch.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=${1:-build/quell} folder=${2:-runs/gpu}
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || exit 77
if [[ -d $(dirname "$program")/lib ]]; then
  torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))')
  LD_LIBRARY_PATH=$(dirname "$program")/lib:$torch/lib:$(echo "$torch"/../nvidia/*/lib | tr ' ' ':')
  export LD_LIBRARY_PATH
fi
mkdir -p "$folder"

# tiny NAME MODEL PIPELINE: an experiment on token ids that lie beside a small model.
tiny() {
  cat > "$folder/$1.yaml" << YAML
name: gpu-$1
model: {path: $PWD/tests/data/$2, engine: libtorch}
task:
  type: tokens
  path: $PWD/tests/data/$2/inputs.safetensors
  keys: "b{}.input_ids"
  calibration_batches: [4, 5]
  evaluation_batches: [4, 5]
quant:
  rules:
    - {sites: ["weight:*", "activation:*"], quantize: true, bits: 6}
    - {sites: ["weight:*"], symmetric: true, granularity: channel}
pipeline: $3
YAML
  experiments+=("$folder/$1.yaml")
}

experiments=()
tiny bert parity/outlier_suppression '[gamma_migration, calibrate]'
tiny roberta parity/outlier_suppression_roberta '[token_wise_clipping]'
tiny bart parity/outlier_suppression_bart_cls '[calibrate]'
tiny electra models/electra '[smooth_quant, calibrate]'
tiny opt models/opt '[shift_scale, calibrate]'
tiny llama models/llama '[shift_scale, calibrate]'
tiny bloom models/bloom '[calibrate]'
tiny gpt2 models/gpt2 '[calibrate]'
experiments+=(experiments/quickstart/w8a8.yaml experiments/quickstart/w6a6.yaml)

for experiment in "${experiments[@]}"; do
  name=$(basename "$experiment" .yaml)
  for device in cpu cuda; do
    "$program" run "$experiment" --set model.device=$device --set model.engine=libtorch \
      --output "$folder/$name-$device" --overwrite > "$folder/$name-$device.log" 2>&1 ||
      { tail -5 "$folder/$name-$device.log"; exit 1; }
  done
done
python3 tools/gpu/compare.py "$folder"
