#!/usr/bin/env bash
# Runs every fuzzer for SECONDS (default 60), or the one named: fuzz/fuzz.sh BUILD [SECONDS [NAME]].
# Inputs that reach new code are kept in BUILD/corpus; one that fails is left in BUILD/findings.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=${2:-60} only=${3:-}
# Memory that the engine's libraries keep to their end is no leak of a reader. Short stacks of
# allocations and a small quarantine make a fuzzer a quarter faster.
export ASAN_OPTIONS=detect_leaks=0:malloc_context_size=3:quarantine_size_mb=16

# fuzz NAME OPTION...: from the stored inputs and those of earlier runs.
fuzz() {
  local name=$1
  shift
  mkdir -p "$build/corpus/$name"
  "$build/fuzz/${name}_fuzz" "$build/corpus/$name" "tests/data/fuzz/$name" \
    -artifact_prefix="$build/findings/$name-" -max_total_time="$seconds" -rss_limit_mb=4096 \
    -reload=0 -print_final_stats=1 "$@" > "$build/$name.log" 2>&1
}

# The HDF5 library was not written for damaged files and fails at one of a thousand. So this target
# goes on in a new process, and what happens inside of the library is no finding of ours.
fuzz_hdf5() {
  local file output result=0
  local options=(-timeout=5 -malloc_limit_mb=1000000000)  # it asks for terabytes and is refused
  local -x ASAN_OPTIONS=$ASAN_OPTIONS:allocator_may_return_null=1:suppressions=fuzz/hdf5.supp
  fuzz hdf5 -fork=1 -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 "${options[@]}" || result=1
  for file in "$build"/findings/hdf5-*; do
    [[ -e $file ]] || continue
    output=$("$build/fuzz/hdf5_fuzz" "${options[@]}" "$file" 2>&1 || true)
    # Whose is the innermost function?
    if awk '/^ *#[0-9]+ 0x.*libhdf5/ {exit 0} /^ *#[0-9]+ 0x.*quell::/ {exit 1}' <<< "$output"; then
      rm "$file"
    else
      result=1
    fi
  done
  return $result
}

failed=0
mkdir -p "$build/findings"
for source in fuzz/*_fuzz.cpp; do
  name=$(basename "$source" _fuzz.cpp)
  if [[ -n $only && $only != "$name" ]]; then continue; fi
  run=(fuzz "$name" -timeout=10)
  [[ $name == hdf5 ]] && run=(fuzz_hdf5)
  if "${run[@]}"; then
    state=clean
  else
    state="FAILED, see $build/$name.log"
    failed=1
  fi
  # Of one process, or of the row of them that -fork starts.
  runs=$(awk '/number_of_executed_units/ {print $2} /^#[0-9]+: / {n = substr($1, 2) + 0}
    END {if (n) print n}' "$build/$name.log" | tail -n 1)
  echo "$name: ${runs:-0} executions, $state"
done
exit $failed
