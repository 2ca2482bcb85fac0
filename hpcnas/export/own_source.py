"""A user's own primitives as text of the stand-alone model file: their module without what only hpcnas needs."""

import ast
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hpcnas.errors import UsageError
from hpcnas.networks.own_primitives import ATTRIBUTE, OPTION, OwnPrimitives, used_module, used_primitives
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.live import live_levels, used_motifs
from hpcnas.representation.primitives import PRIMITIVES

_PROVIDED = {"ConvBNReLU", "SeparableConv"}  # the model file has these itself
_REMEDY = (
    "let the module define its operations by torch and the standard library alone, "
    "or take the genotype alone with `hpcnas show --format json`"
)


def live_own_names(genotype: Genotype) -> list[str]:
    """The own primitives that the genotype's network has, by name."""
    levels = live_levels(genotype)
    motifs = (motif for m, motif in enumerate(levels[0], start=1) if motif and m in used_motifs(levels)[0])
    used = {genotype.primitives[k - 1] for motif in motifs for _, _, k in motif.edges}
    return sorted(used - set(PRIMITIVES))


def own_source(genotype: Genotype, template: str) -> str:
    """What stands in the model file for the genotype's own primitives: their module's code, then a table `OWN` by name.

    Args:
        template: the text of the model file, whose names must stay its own.
    Returns:
        "" for a genotype without own primitives.
    Raises:
        UsageError: the module cannot be used without hpcnas, another library, or under these names.
    """
    names = live_own_names(genotype)
    if not names:
        return ""
    found, module = used_primitives(), used_module()
    kept = list(_kept(found.source))
    _check_imports(module, kept)
    foreign = {name for node in ast.parse(found.source).body if _is_of_hpcnas(node) for name in _bound(node)} - _PROVIDED
    used = {node.id for statement in kept for node in ast.walk(statement) if isinstance(node, ast.Name)}
    if used & foreign:
        raise UsageError(f"{OPTION} {module} uses {min(used & foreign)} of hpcnas, which model.py cannot hold; {_REMEDY}")
    defined = {name for node in kept for name in _bound(node) if not isinstance(node, ast.Import | ast.ImportFrom)}
    taken = defined & {name for node in ast.parse(template).body for name in _bound(node)}
    if taken:
        raise UsageError(f"{OPTION} {module} defines {min(taken)}, as model.py does itself; give it another name")
    rows = [f'    "{name}": ({_factory(module, found, name, defined)}, "{found.own[name].emits}"),' for name in names]
    lines = found.source.splitlines()
    code = "\n\n\n".join("\n".join(lines[_first_line(node) - 1 : node.end_lineno]) for node in kept)
    table = "\n".join(["OWN: dict[str, tuple[Any, str]] = {", *rows, "}"])
    return f"# The operations of {module}, as its author wrote them.\n{code}\n\n\n{table}\n"


def _kept(source: str) -> Iterator[ast.stmt]:
    """The statements that define something: no docstring, no script, nothing of hpcnas, not the list of primitives."""
    for node in ast.parse(source).body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_script = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        if not (is_text or is_script or _is_of_hpcnas(node) or ATTRIBUTE in _bound(node)):
            yield node


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    # For Python a decorated function begins with its def.
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _is_of_hpcnas(node: ast.stmt) -> bool:
    return any(name.partition(".")[0] == "hpcnas" for name in _imported(node))


def _imported(node: ast.stmt) -> list[str]:
    """The modules that a statement imports; "." for one beside it."""
    if isinstance(node, ast.ImportFrom):
        return ["." if node.level else str(node.module)]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def _bound(node: ast.stmt) -> set[str]:
    """The names that a statement at the top of a module gives a meaning."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return {node.name}
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


def _check_imports(module: str, kept: Iterable[ast.stmt]) -> None:
    for name in (name for node in kept for name in _imported(node)):
        room = name.partition(".")[0]
        if room != "torch" and (room not in sys.stdlib_module_names or room == "__future__"):
            what = "a module beside it" if not room else name
            raise UsageError(f"{OPTION} {module} imports {what}, so that model.py would need more than torch; {_REMEDY}")


def _factory(module: str, found: OwnPrimitives, name: str, defined: set[str]) -> str:
    make = found.own[name].make
    factory = str(getattr(make, "__qualname__", ""))
    # A lambda or a partial has no name under which the file could have it.
    if factory not in defined or getattr(make, "__module__", "") != module:
        raise UsageError(
            f"{OPTION} {module}: the factory of {name} is no function or class that the module defines by name, so that "
            "model.py cannot hold it; define it with def or class"
        )
    return factory


def check_own_source(source: str, network: nn.Module, image: Tensor) -> None:
    """Check that a model file with own primitives computes by itself what the network computes.

    Args:
        network: in evaluation mode.
    Raises:
        UsageError: it does not run, or gives something else.
    """
    # Not __main__: the script at the file's end must not run.
    namespace: dict[str, Any] = {"__name__": "model"}
    try:
        exec(compile(source, "model.py", "exec"), namespace)
        model = namespace["build_model"]().eval()
        model.load_state_dict(network.state_dict())
        with torch.no_grad():
            is_same = torch.allclose(model(image), network(image), atol=1e-4)
    except Exception as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UsageError(f"{OPTION} {used_module()}: model.py would not run by itself ({why}); {_REMEDY}") from error
    if not is_same:
        raise UsageError(f"{OPTION} {used_module()}: model.py by itself would compute something else; {_REMEDY}")
