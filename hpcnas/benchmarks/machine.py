"""The name of this machine's processor, for the reports of the benches."""

import platform
from pathlib import Path


def cpu_name() -> str:
    """As /proc/cpuinfo says it; elsewhere the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
