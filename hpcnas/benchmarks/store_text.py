"""Prints the report of `hpcnas bench store`, and names versions and goals beside its figures."""

import os
import platform
import sqlite3
from pathlib import Path
from typing import Any

import hpcnas
from hpcnas.benchmarks.machine import cpu_name
from hpcnas.system.file_system import file_system


def text(result: dict[str, Any]) -> str:
    """The result as text."""
    lines = [result["machine"], ", ".join(f"{name} {version}" for name, version in result["versions"].items()), ""]
    for row in result["rows"]:
        spread = f" ({row['low']:.4g} to {row['high']:.4g})" if "low" in row else ""
        lines.append(f"{row['name']:<58} {row['median']:>10.4g}{spread} {row['unit']}, n = {row['n']}")
    lines += ["", *(f"{name} = {value:.4g}" for name, value in result["summary"].items())]
    return "\n".join(lines)


def store_machine_line(folder: Path) -> str:
    """Processor, cores, memory and the file system that was measured."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    disk = file_system(folder) or "unknown"
    return f"{os.cpu_count()} cores of {cpu_name()}, {memory_gib:.0f} GiB, file system {disk}"


def store_versions() -> dict[str, str]:
    """The versions and the disk that the figures depend on."""
    return {"hpcnas": hpcnas.__version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
