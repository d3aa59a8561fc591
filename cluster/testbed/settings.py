"""Where the testbed keeps its files, and the configuration of its daemons."""

import os
from pathlib import Path

MARK = "# Written by FGD's testbed (cluster/testbed); `testbed.py down` removes it."
CLUSTER = "testbed"

# Exit status where a machine cannot have a testbed: a test may be skipped then, and only then.
MACHINE_LACKS = 3

ROOT = Path("/var/lib/fgd-testbed")
STATE = ROOT / "state.json"
MUNGE_SOCKET = ROOT / "run" / "munge.socket"
DATABASE = "slurm_acct_db"
DATABASE_PORT = 13306
DBD_PORT = 16819
_CONTROLLER_PORT = 16817
_FIRST_NODE_PORT = 17001

# Slurm's own place: some of its callers drop the variable that could name another.
SLURM_CONF = Path("/etc/slurm/slurm.conf")
GRES_CONF = Path("/etc/slurm/gres.conf")
DBD_CONF = Path("/etc/slurm/slurmdbd.conf")


def pidfile(daemon: str) -> Path:
    """Where a daemon writes its process number: munged, ..., slurmd-n1."""
    return ROOT / "run" / f"{daemon}.pid"


def pidfiles() -> list[Path]:
    """Of all daemons that were started, in the order in which they are stopped."""
    order = ["slurmd-", "slurmctld", "slurmdbd", "mariadbd", "munged"]
    found = (ROOT / "run").glob("*.pid")
    return sorted(found, key=lambda path: [path.stem.startswith(name) for name in order][::-1])


def slurm_conf(host: str, names: list[str], gpus: int) -> str:
    """slurm.conf: every node is this machine, under another name and port."""
    cpus = max(4, gpus, os.cpu_count() or 1)  # a process a GPU has room
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    memory = int(pages * page / 2**20 * 0.9)  # each may have the whole machine's
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={_FIRST_NODE_PORT + index} "
        f"CPUs={cpus} RealMemory={memory}" + (f" Gres=gpu:{gpus}" if gpus else "")
        for index, name in enumerate(names)
    )
    return f"""{MARK}
ClusterName={CLUSTER}
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={MUNGE_SOCKET}
CredType=cred/munge
SlurmctldPort={_CONTROLLER_PORT}
SlurmctldPidFile={pidfile("slurmctld")}
SlurmdPidFile={pidfile("slurmd-%n")}
SlurmctldLogFile={ROOT}/log/slurmctld.log
SlurmdLogFile={ROOT}/log/slurmd-%n.log
StateSaveLocation={ROOT}/ctld
SlurmdSpoolDir={ROOT}/spool/%n
MpiDefault=none
SwitchType=switch/none

# No cgroups: the testbed runs in containers, too. Memory is watched by polling instead.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill

# Each node may say it has more processors than there are.
SlurmdParameters=config_overrides
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1000
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5,sched_min_interval=0,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE

# Short, so that a dead node is noticed while one watches.
SlurmdTimeout=15
SlurmctldTimeout=30
InactiveLimit=0
KillWait=2
CompleteWait=0
MinJobAge=300
ReturnToService=2
JobRequeue=1

AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={DBD_PORT}
AccountingStoragePass={MUNGE_SOCKET}
AccountingStorageTRES=gres/gpu

{nodes}
PartitionName=main Nodes={",".join(names)} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={",".join(names)} MaxTime=INFINITE State=UP PriorityTier=10
"""


def gres_conf(names: list[str], gpus: int) -> str:
    """gres.conf: an ordinary file stands for each GPU."""
    lines = [f"NodeName={name} Name=gpu File={ROOT}/{name}-gpu[0-{gpus - 1}]" for name in names]
    return "\n".join([MARK, *(lines if gpus else [])]) + "\n"


def dbd_conf() -> str:
    """slurmdbd.conf."""
    return f"""{MARK}
AuthType=auth/munge
AuthInfo=socket={MUNGE_SOCKET}
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={DBD_PORT}
SlurmUser=root
PidFile={pidfile("slurmdbd")}
LogFile={ROOT}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={DATABASE_PORT}
StorageUser=root
StorageLoc={DATABASE}
"""
