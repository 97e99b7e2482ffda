#!/usr/bin/env bash
# Slurm on one machine, for tests: a controller, a node with 2 CPUs and 2 GPUs that are plain files, no accounting.
#   one_machine_slurm.sh start DIR    prints the line that sets SLURM_CONF
#   one_machine_slurm.sh stop DIR
# Needs root and: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
set -euo pipefail
dir=$(realpath -m "$2") host=$(hostname -s)

start() {
    mkdir -p "$dir"/{munge,state,spool,log}
    chmod 755 "$dir" "$dir/munge" # munge refuses folders that others may write to
    (umask 077 && head -c 128 /dev/urandom > "$dir/munge/key")
    munged --socket="$dir/munge/socket" --key-file="$dir/munge/key" --pid-file="$dir/munged.pid" \
        --log-file="$dir/log/munged.log" --seed-file="$dir/munge/seed"
    touch "$dir"/gpu{0,1}
    echo "NodeName=$host Name=gpu File=$dir/gpu[0-1]" > "$dir/gres.conf"
    cat > "$dir/slurm.conf" <<EOF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthInfo=socket=$dir/munge/socket
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
KillWait=20
MinJobAge=3600
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=2,sched_min_interval=10000
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=20000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes=$host Default=YES State=UP
PartitionName=gpu Nodes=$host State=UP
EOF
    mkdir -p /etc/slurm # where `srun` inside a job looks: Slurm does not hand SLURM_CONF on
    for file in slurm.conf gres.conf; do
        [ ! -e "/etc/slurm/$file" ] || [ -L "/etc/slurm/$file" ] || { echo "/etc/slurm/$file exists." >&2; exit 1; }
        ln -sf "$dir/$file" "/etc/slurm/$file"
    done
    export SLURM_CONF=$dir/slurm.conf
    slurmctld -c -f "$SLURM_CONF"
    slurmd -f "$SLURM_CONF" -N "$host"
    for _ in $(seq 100); do
        [ "$(sinfo --noheader --format %T 2> /dev/null | head -1)" = idle ] && break
        sleep 0.2
    done
    echo "export SLURM_CONF=$SLURM_CONF"
}

stop() {
    for daemon in slurmd slurmctld munged; do
        [ ! -s "$dir/$daemon.pid" ] || kill "$(cat "$dir/$daemon.pid")" || true
    done
    for _ in $(seq 100); do # until they have written their state
        compgen -G "$dir/*.pid" > /dev/null || break
        sleep 0.1
    done
    for file in slurm.conf gres.conf; do
        [ "$(readlink "/etc/slurm/$file")" != "$dir/$file" ] || rm "/etc/slurm/$file"
    done
}

"$1" >&1
