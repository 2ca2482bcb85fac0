"""The nodes of a cluster of the tests, and the files and devices that describe it to Slurm's daemons."""

import os
import random
import socket
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

SLURM_CONF = """\
ClusterName=hpcnastest
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
# A requeued job waits for its credential to expire: 6 s is the least that Slurm takes.
AuthInfo=socket={folder}/munge/socket,cred_expire=6
StateSaveLocation={folder}/ctld
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d.%n.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/d.%n.log
SlurmctldPort={port}
SlurmctldParameters=preempt_send_user_signal
# Else the steps of 200 tasks that start on two cores at once hang until their time limit.
MessageTimeout=100
TCPTimeout=30
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,sched_interval=1,bf_interval=1{max_array_tasks}
MpiDefault=none
ReturnToService=2
KillWait=5
MaxArraySize={max_array_size}
JobRequeue=1
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
{accounting}
NodeName=DEFAULT CPUs={cpus} RealMemory=8000 Gres=gpu:{gpus} State=UNKNOWN
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}]
PartitionName=DEFAULT Nodes=n[1-{nodes}] MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=5
PartitionName=gpu Default=YES
PartitionName=short MaxTime=00:01:00 DefaultTime=00:01:00
PartitionName=urgent PriorityTier=10 PreemptMode=OFF
"""

ACCOUNTING_CONF = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,limits,qos"""

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={db_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=acct
LogFile={folder}/dbd.log
PidFile={folder}/dbd.pid
"""


@dataclass
class Layout:
    """Nodes, GPUs and limits of one cluster, in a folder of its own.

    Attributes:
        db_port: where MariaDB is to listen; drawn by `configure`.
    """

    nodes: int = 2
    gpus: int = 2
    cpus: int = 4
    accounting: bool = False
    max_array_size: int = 1001
    max_array_tasks: int | None = None
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="hpcnas-slurm-")))
    db_port: int = field(default=0, init=False)
    _dbd_port: int = field(default=0, init=False)

    @property
    def node_names(self) -> list[str]:
        """n1, n2, ..."""
        return [f"n{index}" for index in range(1, self.nodes + 1)]

    def configure(self) -> None:
        """Write slurm.conf and gres.conf, make the folders and the pretended GPUs; draws the ports."""
        self.folder.chmod(0o755)
        for name in ("etc", "ctld", "spool", "munge", "gpu", "db"):
            (self.folder / name).mkdir()
        ports = _free_ports(self.nodes + 3)
        self.db_port, self._dbd_port = ports[1], ports[2]
        accounting = "AccountingStorageType=accounting_storage/none"
        if self.accounting:
            accounting = ACCOUNTING_CONF.format(port=self._dbd_port, folder=self.folder)
        text = SLURM_CONF.format(
            host=_host(),
            folder=self.folder,
            port=ports[0],
            nodes=self.nodes,
            first=ports[3],
            last=ports[-1],
            cpus=self.cpus,
            gpus=self.gpus,
            accounting=accounting,
            max_array_size=self.max_array_size,
            max_array_tasks="" if self.max_array_tasks is None else f",max_array_tasks={self.max_array_tasks}",
        )
        (self.folder / "etc/slurm.conf").write_text(text)
        self._pretend_gpus()

    def configure_accounting(self, password: str) -> None:
        """Write slurmdbd.conf, which slurmdbd takes only when nobody else may read it."""
        conf = self.folder / "etc/slurmdbd.conf"
        conf.touch(0o600)
        ports = {"port": self._dbd_port, "db_port": self.db_port}
        conf.write_text(SLURMDBD_CONF.format(folder=self.folder, host=_host(), password=password, **ports))

    def _pretend_gpus(self) -> None:
        lines = []
        for node in range(self.nodes):
            first, last = node * self.gpus, (node + 1) * self.gpus - 1
            for index in range(first, last + 1):
                # Slurm sets CUDA_VISIBLE_DEVICES for character devices only; 1:3 is /dev/null.
                os.mknod(self.folder / f"gpu/nvidia{index}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            if self.gpus:
                lines.append(f"NodeName=n{node + 1} Name=gpu File={self.folder}/gpu/nvidia[{first}-{last}]\n")
        (self.folder / "etc/gres.conf").write_text("".join(lines))


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _free_ports(count: int) -> list[int]:
    """A block of consecutive ports that nobody listens on, below those that the kernel gives to clients."""
    for _ in range(200):
        first = random.SystemRandom().randrange(12000, 32000 - count)
        ports = list(range(first, first + count))
        if all(_is_free(port) for port in ports):
            return ports
    raise RuntimeError(f"found no {count} free consecutive ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
