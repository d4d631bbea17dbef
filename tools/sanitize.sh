#!/usr/bin/env bash
# Builds and runs tests with sanitizers: tools/sanitize.sh [JOBS].
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${1:-$(nproc)}
ctest_options=(--output-on-failure -j "$jobs")

echo "== AddressSanitizer, UndefinedBehaviorSanitizer: fast tests"
cmake --preset asan > /dev/null
cmake --build --preset asan -j "$jobs" --target fast_tests
# LibTorch and HDF5 keep memory until the end.
ASAN_OPTIONS=detect_leaks=0 ctest --test-dir build-asan "${ctest_options[@]}" -L fast

echo "== ThreadSanitizer: concurrent tests"
cmake --preset tsan > /dev/null
cmake --build --preset tsan -j "$jobs" --target quant_test run_test quantizers_test
TSAN_OPTIONS="suppressions=$PWD/tools/tsan.supp" ctest --test-dir build-tsan "${ctest_options[@]}" \
  -R '^(quant\.|quantizers\.learned|run\.(output_loss|qat|padding))'
