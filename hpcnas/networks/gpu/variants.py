"""Lists the compiled kernels that a pass needs, and compiles them for a card that need not be here."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from hpcnas.networks.gpu.launch import Launch

_WARP = 32  # threads


@dataclass(frozen=True, slots=True)
class KernelVariant:
    """One machine program: a kernel with its constants and what the compiler may assume about its arguments.

    Attributes:
        text: for people and for comparing: kernel, constants, arguments that are multiples of 16, options.
        digest: of everything that the machine program depends on but the card: sources, Triton's version, `text`.
    """

    text: str
    digest: str
    launch: Launch


class _Card:
    """The driver that Triton asks while it compiles; stands for a card of the given architecture, such as 90."""

    def __init__(self, arch: int) -> None:
        self.target = GPUTarget("cuda", arch, _WARP)

    def get_current_target(self) -> GPUTarget:
        """The card's architecture."""
        return self.target

    def get_current_device(self) -> str:
        """A name that is no device's number, so that no compiled kernel of this card is ever launched."""
        return f"sm_{self.target.arch}"

    def get_current_stream(self, device: str) -> int:
        """None is used."""
        return 0


def variants_of(launches: Sequence[Launch], arch: int) -> list[KernelVariant]:
    """The distinct variants of some launches, in their order; compiles nothing. Meta tensors will do."""
    found: dict[str, KernelVariant] = {}
    with _card(arch):
        for launch in launches:
            for text in _specialisations(launch):
                source = f"{triton.__version__} {launch.kernel.cache_key} {text}"
                found.setdefault(text, KernelVariant(text, hashlib.sha256(source.encode()).hexdigest(), launch))
    return list(found.values())


def compile_variant(variant: KernelVariant, arch: int) -> Any:
    """Triton's compiled kernel, from its cache or made and put there; the real driver will ask for the same entry."""
    with _card(arch):
        return variant.launch.kernel.warmup(grid=variant.launch.grid, **variant.launch.arguments)


@contextmanager
def _card(arch: int) -> Iterator[None]:
    before = driver._active  # asking for `active` would look for a real card
    driver.set_active(_Card(arch))
    try:
        yield
    finally:
        driver.set_active(before)


def _specialisations(launch: Launch) -> list[str]:
    """The variant that Triton would compile for a launch: asked through its hook, which refuses."""
    texts: list[str] = []

    def refuse(*, fn: Any, compile: dict[str, Any], **_rest: Any) -> bool:
        texts.append(_text(fn.name, launch.kernel.arg_names, compile))
        return True

    before = triton.knobs.runtime.jit_cache_hook
    triton.knobs.runtime.jit_cache_hook = refuse
    try:
        launch.kernel.warmup(grid=launch.grid, **launch.arguments)
    finally:
        triton.knobs.runtime.jit_cache_hook = before
    return texts


def _text(name: str, names: Sequence[str], made: dict[str, Any]) -> str:
    constants = [f"{names[at[0]]}={value}" for at, value in sorted(made["constants"].items())]
    types = [f"{key}:{kind}" for key, kind in made["signature"].items() if kind != "constexpr"]
    multiples = [names[at[0]] for at, what in sorted(made["configs"][0].items()) if what]
    options = f"warps={made['num_warps']} stages={made['num_stages']}"
    return f"{name}[{' '.join(constants)}]({' '.join(types)}) multiples of 16: {' '.join(multiples)}; {options}"
