#!/usr/bin/env bash
# Stops what start_local.sh has started in FOLDER; jobs end. The folder stays.
set -euo pipefail
folder=${1:?usage: stop_local.sh FOLDER}
export SLURM_CONF=$folder/slurm.conf
scancel --user="$(id -un)" 2> /dev/null || true
for name in slurmd slurmctld munged; do
  file=$folder/$name.pid
  [[ -s $file ]] || continue
  pid=$(cat "$file")
  kill "$pid" 2> /dev/null || continue
  for _ in $(seq 100); do
    kill -0 "$pid" 2> /dev/null || break
    sleep 0.1
  done
  kill -9 "$pid" 2> /dev/null || true
done
