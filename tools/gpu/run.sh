#!/usr/bin/env bash
# Builds the CUDA kernels alone, checks them against plain C++ and measures them. Needs CMake, nvcc
# and a C++ compiler (ninja if it is there). Without a GPU it builds, says so and exits with 77.
#   tools/gpu/run.sh [BUILD_FOLDER]       default: build-gpu
# QUELL_GPU_ARCHITECTURES: what to compile for, default "80;90".
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build-gpu}
# CMake looks for nvcc in PATH alone.
command -v nvcc > /dev/null || PATH=$PATH:/usr/local/cuda/bin
generator=()
if command -v ninja > /dev/null; then generator=(-G Ninja); fi

cmake -S tools/gpu -B "$build" "${generator[@]}" \
  -DCMAKE_CUDA_ARCHITECTURES="${QUELL_GPU_ARCHITECTURES:-80;90}"
cmake --build "$build" -j "$(nproc)"

"$build/gpu_self_check"
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null || true)
if [ -n "$sanitizer" ]; then
  for tool in memcheck racecheck; do
    echo "compute-sanitizer: $tool"
    "$sanitizer" --tool "$tool" --error-exitcode 1 "$build/gpu_self_check" --small
  done
else
  echo "compute-sanitizer is not here: memcheck and racecheck are skipped"
fi

clocks() {
  nvidia-smi --query-gpu=name,clocks.sm,clocks.mem,clocks.max.sm,temperature.gpu,power.draw \
    --format=csv 2> /dev/null || true
}
clocks
"$build/gpu_benchmark" "$build/gpu_benchmark.json"
clocks
