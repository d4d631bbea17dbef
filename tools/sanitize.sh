#!/usr/bin/env bash
# Builds and runs tests with sanitizers: tools/sanitize.sh [JOBS [address|thread]], or, of some folders of
# tests/unit alone, tools/sanitize.sh JOBS address FOLDER...
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${1:-$(nproc)} only=${2:-}
targets=(fast_tests) chosen=(-L fast)
if (($# > 2)); then
  targets=("${@:3}") chosen=(-R "^($(IFS='|'; echo "${*:3}"))\\.")
  targets=("${targets[@]/%/_test}")
fi

# run NAME PRESET CTEST_OPTION...: the tests of a build.
run() {
  local name=$1 preset=$2
  shift 2
  rm -rf "build-$preset/test-results"
  ctest --test-dir "build-$preset" --output-on-failure -j "$jobs" --no-tests=error "$@"
  echo "$name: clean"
}

# build PRESET TARGET...
build() {
  local preset=$1
  shift
  cmake --preset "$preset" > /dev/null
  cmake --build --preset "$preset" -j "$jobs" --target "$@"
}

if [[ $only != thread ]]; then
  build asan "${targets[@]}"
  # LibTorch and HDF5 keep memory until the end. Asking for too much of it is an exception as elsewhere.
  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
    run "AddressSanitizer, UndefinedBehaviorSanitizer" asan "${chosen[@]}"
fi
if [[ $only != address ]]; then
  build tsan quant_test run_test quantizers_test models_test
  TSAN_OPTIONS="suppressions=$PWD/tools/tsan.supp" run ThreadSanitizer tsan \
    -R '^(quant\.|quantizers\.learned|models\.concurrency|run\.(output_loss|qat|padding))'
fi
