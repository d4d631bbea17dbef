#!/usr/bin/env bash
# Builds and runs tests with sanitizers: tools/sanitize.sh [JOBS [address|thread [FOLDER...]]]. Without
# folders of tests/unit: all fast tests with AddressSanitizer and UndefinedBehaviorSanitizer, and those
# that run things at the same time with ThreadSanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${1:-$(nproc)} only=${2:-}
folders=("${@:3}")

# check NAME PRESET TARGETS CTEST_OPTION...: builds these, or the tests of the chosen folders, and runs them.
check() {
  local name=$1 preset=$2
  local -a targets chosen=("${@:4}")
  read -ra targets <<< "$3"
  if ((${#folders[@]})); then
    targets=("${folders[@]/%/_test}") chosen=(-R "^($(IFS='|'; echo "${folders[*]}"))\\.")
  fi
  cmake --preset "$preset" > /dev/null
  cmake --build --preset "$preset" -j "$jobs" --target "${targets[@]}"
  rm -rf "build-$preset/test-results"
  ctest --test-dir "build-$preset" --output-on-failure -j "$jobs" --no-tests=error "${chosen[@]}"
  echo "$name: clean"
}

# LibTorch and HDF5 keep memory until the end. Asking for too much of it is an exception as elsewhere.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS="suppressions=$PWD/tools/tsan.supp"
if [[ $only != thread ]]; then
  check "AddressSanitizer, UndefinedBehaviorSanitizer" asan fast_tests -L fast
fi
if [[ $only != address ]]; then
  check ThreadSanitizer tsan "quant_test run_test quantizers_test models_test" \
    -R '^(quant\.|quantizers\.learned|models\.concurrency|run\.(output_loss|qat|padding))'
fi
