"""The resources that one full-size training asks Slurm for; without submitit, which only a submission needs."""

from dataclasses import dataclass

from hpcnas.cluster.slurm.sbatch_options import user_options
from hpcnas.errors import UsageError
from hpcnas.option import check_options, option

# Options of sbatch for which `hpcnas final` has one of its own.
OWN = {
    **{name: f"--{name}" for name in ("partition", "account", "qos", "time", "exclude")},
    "cpus-per-task": "--cpus-per-rank",
}
_OF_RUN = "the run's"


@dataclass(frozen=True, slots=True)
class JobShape:
    """The resources that one training asks Slurm for.

    Attributes:
        ranks_per_node: one per GPU where there are GPUs.
        slurm: KEY=VALUE, passed to sbatch as they are.
    """

    nodes: int = option(1, "Nodes of a job.", metavar="N", least=1)
    gpus_per_node: int = option(1, "GPUs of a node, each with a rank. 0 trains on CPUs.", metavar="N", least=0)
    ranks_per_node: int = option(1, "Ranks on a node.", shown="one per GPU", metavar="N", least=1)
    cpus_per_rank: int = option(8, "CPU cores of a rank.", metavar="N", least=1)
    partition: str = option("", "Slurm partition.", shown=_OF_RUN, metavar="P")
    account: str = option("", "Slurm account.", shown=_OF_RUN, metavar="NAME")
    qos: str = option("", "Slurm quality of service.", shown=_OF_RUN, metavar="NAME")
    time: str = option(
        "", "Time limit; a job that reaches it is requeued and goes on.", shown="the partition's", metavar="TIME"
    )
    mem: str = option("", "Memory of a node, as Slurm writes it (64G).", metavar="SIZE")
    exclude: str = option("", "Nodes not to use.", shown=_OF_RUN, metavar="NODES")
    setup: tuple[str, ...] = option((), "Shell command before the training; once per command.", shown=_OF_RUN, metavar="CMD")
    slurm: tuple[str, ...] = option((), "Any further sbatch option; once per option.", shown=_OF_RUN, metavar="KEY=VALUE")

    def __post_init__(self) -> None:
        check_options(self)
        if 0 < self.gpus_per_node < self.ranks_per_node:
            raise UsageError(
                f"--gpus-per-node {self.gpus_per_node} is fewer than --ranks-per-node {self.ranks_per_node}; every rank "
                "needs a GPU of its own"
            )
        user_options(self.slurm, OWN)
