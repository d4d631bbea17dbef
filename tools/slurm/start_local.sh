#!/usr/bin/env bash
# Starts a Slurm of one node on this machine, for tests and to try things out: munged, slurmctld and
# slurmd with all their files in FOLDER (default: a new one), without systemd. Needs root. Prints the
# line to evaluate in a shell that is to use it:
#   eval "$(tools/slurm/start_local.sh)"; sinfo
# Exit code 77: Slurm is not installed (tools/slurm/install.sh) or we are not root.
set -euo pipefail

for program in sbatch slurmctld slurmd munged; do
  command -v "$program" > /dev/null && continue
  echo "Slurm is not installed (no $program): tools/slurm/install.sh --always" >&2
  exit 77
done
if ((EUID != 0)); then
  echo "A local Slurm needs root" >&2
  exit 77
fi
folder=${1:-$(mktemp -d "${TMPDIR:-/tmp}/quell-slurm.XXXXXX")}
mkdir -p "$folder"/{state,spool,log}
folder=$(cd "$folder" && pwd)

# Our own node name, so that a name that nobody resolves does no harm; our own ports, so that another
# Slurm may run beside this one.
read -r controller_port node_port < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for one in sockets: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))')
cores=$(nproc)
memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)

cat > "$folder/slurm.conf" << END
ClusterName=quell
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
# No control groups: containers often have none that we may write.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
ReturnToService=2
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,bf_interval=1
SchedulerTimeSlice=5
MinJobAge=300
KillWait=10
NodeName=local NodeHostname=$(hostname) NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=tests Nodes=local Default=YES MaxTime=INFINITE State=UP
END

(umask 077; head -c 64 /dev/urandom > "$folder/munge.key")
munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" \
  --pid-file="$folder/munged.pid" --log-file="$folder/log/munged.log" \
  --seed-file="$folder/munge.seed" > "$folder/log/munged.out" 2>&1
export SLURM_CONF=$folder/slurm.conf
slurmctld -c > "$folder/log/slurmctld.out" 2>&1
slurmd -N local > "$folder/log/slurmd.out" 2>&1

for _ in $(seq 100); do
  if [[ $(sinfo --noheader --format=%T 2> /dev/null) == idle ]]; then
    echo "export SLURM_CONF=$SLURM_CONF"
    exit 0
  fi
  sleep 0.1
done
echo "Slurm did not start; its logs:" >&2
tail -n 20 "$folder"/log/* >&2
"$(dirname "$0")/stop_local.sh" "$folder"
exit 1
