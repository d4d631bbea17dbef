#!/usr/bin/env bash
# Installs Slurm for the tests (13 MB of Debian or Ubuntu packages): in containers, where we are root
# and no systemd would start its services. Quick when it is there. Where it cannot be installed, the
# tests of Slurm are skipped. `--always` installs it beside systemd too, and fails when that fails.
set -euo pipefail

if command -v sbatch > /dev/null && command -v slurmctld > /dev/null &&
  command -v slurmd > /dev/null && command -v munged > /dev/null; then
  exit 0
fi
install() {
  echo "Installing packages: slurmctld slurmd slurm-client munge"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq &&
    apt-get install -qq -y --no-install-recommends slurmctld slurmd slurm-client munge > /dev/null
}
if [[ ${1:-} == --always ]]; then
  install
elif ((EUID == 0)) && command -v apt-get > /dev/null && [[ ! -d /run/systemd/system ]]; then
  install || echo "That has failed: the tests of Slurm will be skipped" >&2
fi
