"""What the compiler says of a compiled kernel."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Any

import triton


@dataclass(frozen=True)
class Usage:
    """Registers of a thread, and bytes of stack: what did not fit into them."""

    registers: int
    stack: int


def usage(compiled: Any) -> Usage:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    assert found, text
    return Usage(int(found[1]), int(found[2]))
