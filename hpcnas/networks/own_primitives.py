"""A user's own primitives, the module of `--primitives`: found, checked, and known to this process by their names.

A genotype carries names alone. What they mean is said by the one module that this process uses; it is imported when a name
is first asked for.
"""

import ast
import hashlib
import inspect
from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType
from typing import Any

from hpcnas.errors import GenotypeError, UsageError
from hpcnas.representation.primitives import PRIMITIVES, Primitive, check_names
from hpcnas.representation.space import SearchSpace
from hpcnas.system.own_code import call_own, import_own_module

OPTION = "--primitives"
ATTRIBUTE = "PRIMITIVES"
_C_IN, _C = 8, 16  # channels with which a primitive is tried
_COUNTED_PX = 16  # side of the image by which a module is counted


@dataclass(frozen=True, slots=True)
class OwnPrimitives:
    """What a module of own primitives says.

    Attributes:
        names: the operations of level 1, in order.
        own: those that are not the paper's, by name.
        source: the module's text.
        fingerprint: of that text without comments, docstrings and layout.
    """

    names: tuple[str, ...]
    own: dict[str, Primitive]
    source: str
    fingerprint: str


@dataclass(slots=True)
class _Use:
    module: str = ""
    fingerprint: str = ""  # that of the run; "" where none is known


_use = _Use()


def use_primitives(module: str, fingerprint: str = "") -> None:
    """Let the names of own primitives mean, in this process, what `module` says; "" leaves the paper's six alone.

    Args:
        fingerprint: that of the run, if there is one: another source is refused when a primitive is asked for.
    """
    _use.module, _use.fingerprint = module, fingerprint


def used_module() -> str:
    """The module that this process uses; "" for none."""
    return _use.module


def own_primitive(name: str) -> Primitive:
    """The primitive of that name.

    Raises:
        UsageError: no module is used, it cannot be imported, is not the run's any more, or has none of that name.
    """
    if not _use.module:
        raise UsageError(f"{name} is none of the paper's primitives; name the module that has it with {OPTION} PACKAGE.MODULE")
    found = used_primitives()
    if name not in found.own:
        raise UsageError(f"{OPTION} {_use.module} has no primitive {name}; it has {', '.join(found.names)}")
    return found.own[name]


def used_primitives() -> OwnPrimitives:
    """What the used module says.

    Raises:
        UsageError: it cannot be imported, or is not the run's any more.
    """
    found = load_primitives(_use.module)
    if _use.fingerprint and found.fingerprint != _use.fingerprint:
        raise UsageError(
            f"{OPTION} {_use.module} is not what it was when the run began (fingerprint {found.fingerprint[:12]}, then "
            f"{_use.fingerprint[:12]}), so that its genotypes mean something else; put it back, or choose another --run"
        )
    return found


def with_primitives(space: SearchSpace) -> SearchSpace:
    """The space with what its module says of itself now, which this process uses from now on.

    Raises:
        UsageError: the module cannot be imported, is not the one that the space began with, or a primitive does not do
            what it says.
    """
    use_primitives(space.primitives, space.primitives_fingerprint)
    if not space.primitives:
        return replace(space, primitive_names=(), primitives_fingerprint="")
    found = used_primitives()
    for primitive in found.own.values():
        _check(primitive)
    return replace(space, primitive_names=found.names, primitives_fingerprint=found.fingerprint)


@lru_cache(maxsize=8)
def load_primitives(module: str) -> OwnPrimitives:
    """Import a module and read what it names.

    Raises:
        UsageError: it cannot be imported, or names no primitives.
    """
    found = import_own_module(OPTION, module, module)
    given = getattr(found, ATTRIBUTE, None)
    if not isinstance(given, list | tuple) or not given:
        has = f"{ATTRIBUTE} is {given!r}" if hasattr(found, ATTRIBUTE) else f"the module has no {ATTRIBUTE}"
        raise UsageError(f"{OPTION} {module}: {has}; let it be a list of at least one operation")
    for one in given:
        if not isinstance(one, Primitive) and one not in PRIMITIVES:
            raise UsageError(
                f"{OPTION} {module}: {one!r} in {ATTRIBUTE} is neither a Primitive nor a name of the paper's "
                f"({', '.join(PRIMITIVES)})"
            )
    names = tuple(one.name if isinstance(one, Primitive) else str(one) for one in given)
    try:
        check_names(names)
    except GenotypeError as error:
        raise UsageError(f"{OPTION} {module}: {error}") from error
    source = _source(module, found)
    return OwnPrimitives(names, {one.name: one for one in given if isinstance(one, Primitive)}, source, _fingerprint(source))


def make_own(primitive: Primitive, c_in: int, C: int) -> Any:
    """The nn.Module of an own primitive; what its factory raises is one sentence."""
    return call_own(f"primitive {primitive.name} for {c_in} channels", primitive.make, c_in, primitive.width(c_in, C))


@lru_cache(maxsize=65536)
def count_own(primitive: Primitive, c_in: int, C: int) -> tuple[int, int, int]:
    """Trainable parameters, running statistics, and multiply-adds for one pixel, by the formula or by the module."""
    if primitive.counts is None:
        return _count_module(primitive, c_in, C)
    found = call_own(f"counts of primitive {primitive.name}", primitive.counts, c_in, primitive.width(c_in, C))
    if not isinstance(found, tuple) or len(found) != 3 or not all(isinstance(number, int) and number >= 0 for number in found):
        raise UsageError(
            f"counts of primitive {primitive.name} returned {found!r}; it must return three whole numbers: parameters, "
            "running statistics, multiply-adds for one pixel"
        )
    return found


def _count_module(primitive: Primitive, c_in: int, C: int) -> tuple[int, int, int]:
    """Build it without memory, on torch's meta device, and look at it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def look() -> tuple[int, int, int]:
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            module = primitive.make(c_in, primitive.width(c_in, C)).eval()
            module(torch.empty(1, c_in, _COUNTED_PX, _COUNTED_PX))
        trainable = sum(one.numel() for one in module.parameters() if one.requires_grad)
        # Integer buffers, as batch normalisation's count of batches, are no variables in the sense of the paper's counts.
        kept = [*module.buffers(), *(one for one in module.parameters() if not one.requires_grad)]
        # torch counts a multiply-add as two operations.
        macs = counter.get_total_flops() // 2 // _COUNTED_PX**2
        return trainable, sum(one.numel() for one in kept if one.is_floating_point()), macs

    found: tuple[int, int, int] = call_own(f"primitive {primitive.name}, counted without memory,", look)
    return found


def _check(primitive: Primitive) -> None:
    """Check that a primitive is a module that emits what it says, and is counted rightly."""
    import torch
    from torch import nn

    what, width = f"primitive {primitive.name}", primitive.width(_C_IN, _C)
    module = make_own(primitive, _C_IN, _C)
    if not isinstance(module, nn.Module):
        raise UsageError(f"{what}: make({_C_IN}, {width}) returned one {type(module).__name__}; it must return an nn.Module")
    with torch.no_grad():
        # Height and width differ, one of them odd: a module that turns, halves or crops images emits another shape.
        out = call_own(what, module.eval(), torch.zeros(2, _C_IN, 7, 6))
    expected = (2, width, 7, 6)
    if not isinstance(out, torch.Tensor) or tuple(out.shape) != expected:
        got = f"shape {tuple(out.shape)}" if isinstance(out, torch.Tensor) else f"one {type(out).__name__}"
        raise UsageError(f"{what} made {got} of (2, {_C_IN}, 7, 6); it must keep height and width and emit {expected}")
    said = count_own(primitive, _C_IN, _C)
    if primitive.counts is not None and said != _count_module(primitive, _C_IN, _C):
        raise UsageError(
            f"{what}: counts({_C_IN}, {width}) says {said}, its module has {_count_module(primitive, _C_IN, _C)}; "
            "mend the formula, or leave it out"
        )


def _source(name: str, module: ModuleType) -> str:
    try:
        return inspect.getsource(module)
    except (OSError, TypeError) as error:
        raise UsageError(f"{OPTION} {name}: the module's source cannot be read ({error}); give a .py file") from error


def _fingerprint(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
