"""What the compiler says of a compiled kernel; no GPU is needed.

python -m tests.networks.gpu.machine_code depthwise_backward
"""

import argparse
import re
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Any

import triton

_INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\d+\s+)?([A-Z][A-Z0-9_.]*)\s*(.*?);", re.MULTILINE)
_REGISTERS, _WARPS = 65_536, 64  # of a multiprocessor


@dataclass(frozen=True)
class Usage:
    """Registers of a thread, bytes of stack that were spilled from them, and bytes of shared memory of a program."""

    registers: int
    stack: int
    shared: int


def usage(compiled: Any) -> Usage:
    text = _cuobjdump(compiled, "-res-usage")
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    assert found, text
    return Usage(int(found[1]), int(found[2]), compiled.metadata.shared)


def longest_inner_loop(compiled: Any) -> int:
    """Instructions of the longest loop that has no other one inside: what a warp issues in each turn."""
    code = [(int(at, 16), name, rest) for at, name, rest in _INSTRUCTION.findall(_cuobjdump(compiled, "-sass"))]
    loops = []
    for at, name, rest in code:
        target = re.search(r"0x([0-9a-f]+)", rest) if name.startswith("BRA") else None
        if target and int(target[1], 16) < at - 64:  # nearer ones are the trap behind a kernel's end
            loops.append((int(target[1], 16), at))
    inner = [one for one in loops if not any(one != other and one[0] <= other[0] and other[1] <= one[1] for other in loops)]
    return max((sum(start <= at <= end for at, _, _ in code) for start, end in inner), default=0)


def _cuobjdump(compiled: Any, option: str) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, option, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Registers, stack and instructions of each variant of a kernel in a step of the paper's cell."""
    from hpcnas.benchmarks.genotypes import load_genotypes
    from hpcnas.networks.gpu.variants import compile_variant, variants_of
    from tests.networks.gpu.material import meta_layout

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("kernel")
    parser.add_argument("--arch", type=int, default=90)
    asked = parser.parse_args()
    launches = [
        launch for launch in meta_layout(load_genotypes()["published"]).launches if asked.kernel in launch.kernel.fn.__name__
    ]
    for variant in variants_of(launches, asked.arch):
        compiled = compile_variant(variant, asked.arch)
        used, warps = usage(compiled), variant.launch.own.get("num_warps", 4)
        fitting = min(_WARPS, _REGISTERS // (32 * used.registers)) // warps * warps
        text = variant.text.partition("(")[0]
        print(
            f"{text}: {used.registers} registers, {used.stack} B of stack, {longest_inner_loop(compiled)} instructions in the"
        )
        print(f"    loop, {warps} warps a program, at most {fitting} warps on a multiprocessor", flush=True)


if __name__ == "__main__":
    main()
