#!/usr/bin/env bash
# Installs Slurm for the tests (13 MB of Debian or Ubuntu packages): in containers, where we are root
# and no systemd would start its services. Quick when it is there; elsewhere it does nothing, and
# the tests of Slurm are skipped. `--always` installs it wherever we are root.
set -euo pipefail

if command -v sbatch slurmctld slurmd munged > /dev/null; then exit 0; fi
command -v apt-get > /dev/null && ((EUID == 0)) || exit 0
if [[ -d /run/systemd/system && ${1:-} != --always ]]; then exit 0; fi
echo "Installing packages: slurmctld slurmd slurm-client munge"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends slurmctld slurmd slurm-client munge > /dev/null
