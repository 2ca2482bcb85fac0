"""Options of sbatch: which ones users may give, which variables would override a script, which folders Slurm can log to."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hpcnas.errors import UsageError

# Options that hpcnas itself depends on: where tasks log, how they are found again, how many there are.
RESERVED = frozenset(
    ("array", "job-name", "comment", "output", "error", "open-mode", "nodes", "ntasks", "ntasks-per-node", "wait", "parsable")
)
# One letter for a whole name, as `-p gpu`.
SHORT = {
    **{"a": "array", "J": "job-name", "o": "output", "e": "error", "N": "nodes", "n": "ntasks", "W": "wait"},
    **{"p": "partition", "A": "account", "q": "qos", "t": "time", "x": "exclude", "c": "cpus-per-task", "G": "gpus"},
    **{"C": "constraint", "w": "nodelist", "d": "dependency", "L": "licenses", "M": "clusters", "s": "oversubscribe"},
}
# Options of one meaning: who gives one of a family replaces all of it.
FAMILIES = (
    frozenset(("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "gres", "tres-per-task", "tres-per-node")),
    frozenset(("mem", "mem-per-cpu", "mem-per-gpu")),
    frozenset(("requeue", "no-requeue")),
)
# What sbatch reads from the environment overrides the script. Variables that are not called after their option:
_VARIABLES = {
    "time": "SBATCH_TIMELIMIT",
    "array": "SBATCH_ARRAY_INX",
    "mem": "SBATCH_MEM_PER_NODE",
    "nodelist": "SBATCH_NODELIST",
    "oversubscribe": "SBATCH_OVERSUBSCRIBE",
}


def user_options(pairs: Iterable[str], own: Mapping[str, str]) -> dict[str, Any]:
    """The options that a user gave as KEY=VALUE, by their full names; True for those without a value.

    Args:
        own: options of sbatch for which hpcnas has an option of its own, and that one's name.
    Raises:
        UsageError: one is none, is set by hpcnas, or has an option of hpcnas's own; names what to use instead.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--slurm {pair} must be KEY=VALUE, as in constraint=a100")
        given, _, value = pair.partition("=")
        name = given.lstrip("-")
        name = SHORT.get(name, name.replace("_", "-"))
        if name in RESERVED:
            raise UsageError(
                f"--slurm {pair}: hpcnas sets {name} itself; leave it out (all of its own: {', '.join(sorted(RESERVED))})"
            )
        if name in own:
            raise UsageError(f"--slurm {pair}: give {own[name]} {value} instead, since hpcnas acts upon it itself")
        cut = [full for full in sorted(RESERVED | set(own)) if full.startswith(name)]
        if cut:
            raise UsageError(f"--slurm {pair}: write the name of the option out, sbatch takes it for {cut[0]}")
        options[name] = value or True
    return options


def without_replaced(parameters: dict[str, Any], given: Iterable[str]) -> dict[str, Any]:
    """submitit's parameters without those that an option of the user's replaces, as `gres` does `gpus_per_node`."""
    replaced = {name for option in given for family in FAMILIES if option in family for name in family}
    return {name: value for name, value in parameters.items() if name.replace("_", "-") not in replaced}


def submission_environment(environment: Mapping[str, str], options: Iterable[str]) -> dict[str, str]:
    """The environment for sbatch: without the variables that would override what the script says, or what hpcnas relies on.

    Args:
        options: names of the options that the script sets.
    """
    names = {name.replace("_", "-") for name in options} | RESERVED | {"signal", "chdir", "input", "test-only", "wrap"}
    names |= {name for family in FAMILIES if family & names for name in family}
    dropped = {_VARIABLES.get(name, f"SBATCH_{name.upper().replace('-', '_')}") for name in names}
    return {name: value for name, value in environment.items() if name not in dropped}


def check_log_path(path: Path) -> None:
    """Refuse a folder whose name Slurm or submitit would read as a pattern for logs, before anything is made.

    Raises:
        UsageError: it holds %, a backslash, a line break, or bytes that are no UTF-8.
    """
    text = str(path)
    if any(mark in text for mark in ("%", "\\", "\n", "\r")) or not _is_utf8(text):
        shown = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", "\\n").replace("\r", "\\r")
        raise UsageError(
            f"{shown} has a %, a backslash, a line break or bytes that are no UTF-8, which Slurm replaces in names of logs; "
            "choose another folder with --run"
        )


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
