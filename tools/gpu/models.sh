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

# run EXPERIMENT NAME OPTION...
run() {
  "$program" run "$1" --set model.engine=libtorch --output "$folder/$2" --overwrite "${@:3}" \
    > "$folder/$2.log" 2>&1 || { tail -5 "$folder/$2.log"; exit 1; }
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
    run "$experiment" "$name-$device" --set model.device=$device
  done
done
python3 tools/gpu/compare.py "$folder"

# Layer by layer, without room for states, and on all GPUs together: the bits of one GPU.
run "$folder/llama.yaml" llama-by-layer --set model.device=cuda --set model.device_memory=0 \
  --set 'model.by_layer={}' --set 'pipeline=[{by_block: [calibrate]}]'
run "$folder/llama.yaml" llama-at-once --set model.device=cuda \
  --set 'pipeline=[{by_block: [calibrate]}]'
cmp "$folder"/llama-{by-layer,at-once}/predictions.jsonl
gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader | sed 's/^/cuda:/' | paste -sd,)
if [[ $gpus == *,* ]]; then
  run "$folder/bert.yaml" bert-several --set "model.device=[$gpus]"
  cmp "$folder"/bert-{several,cuda}/predictions.jsonl
else
  echo "one GPU: models on several were not tried"
fi

# A quantized forward pass against a float one, and the published sequence of operations against
# quell's, each on the same GPU: by wall time.
binaries=$(dirname "$program")
[[ -e $binaries/forward_benchmark ]] || binaries+=/tests
if [[ -e $binaries/forward_benchmark ]]; then
  "$binaries/forward_benchmark" --device cuda --sequences 64
else
  echo "forward_benchmark is not built: skipped"
fi
if [[ -e $binaries/published_pipeline_benchmark && -d ../shared/models/minilm-sst2 ]]; then
  "$binaries/published_pipeline_benchmark" --device cuda --data sst2 --rounds 1
else
  echo "published_pipeline_benchmark or ../shared is not here: skipped"
fi
