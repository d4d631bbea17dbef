#!/usr/bin/env bash
# Runs every fuzzer for SECONDS (default 60), or the one named: fuzz/fuzz.sh BUILD [SECONDS [NAME]].
# Inputs that reach new code are kept in BUILD/corpus; one that fails is left in BUILD/findings.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=${2:-60} only=${3:-}

failed=0
for source in fuzz/*_fuzz.cpp; do
  name=$(basename "$source" _fuzz.cpp)
  if [[ -n $only && $only != "$name" ]]; then continue; fi
  mkdir -p "$build/corpus/$name" "$build/findings"
  # Memory that the engine's libraries keep to their end is no leak of a reader.
  if ASAN_OPTIONS=detect_leaks=0 "$build/fuzz/${name}_fuzz" "$build/corpus/$name" \
    "tests/data/fuzz/$name" -artifact_prefix="$build/findings/$name-" -max_total_time="$seconds" \
    -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 > "$build/$name.log" 2>&1; then
    state=clean
  else
    state="FAILED, see $build/$name.log"
    failed=1
  fi
  runs=$(awk '/number_of_executed_units/ {print $2}' "$build/$name.log")
  echo "$name: ${runs:-0} executions, $state"
done
exit $failed
