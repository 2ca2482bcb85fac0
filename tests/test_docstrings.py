"""Every public name of the package says what it is; whether that is true, a reader must judge."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "hpcnas"
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)

Classes = dict[str, ast.ClassDef]


def read_package() -> dict[str, ast.Module]:
    """The modules of hpcnas, by their path in it."""
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def silent_names(modules: dict[str, ast.Module]) -> list[str]:
    """Public modules, classes, functions and methods without a docstring.

    A method keeps the docstring that it overrides in a base class of the package. Names that begin with _ need none, and
    neither do those inside a function. The other methods of a class that begins with _ do: they are what its module calls.
    """
    classes = {node.name: node for tree in modules.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    silent = [path for path, tree in modules.items() if not ast.get_docstring(tree)]
    return sorted(silent + [f"{path}: {name}" for path, tree in modules.items() for name in silent_in(tree, classes)])


def silent_in(owner: ast.Module | ast.ClassDef, classes: Classes) -> Iterator[str]:
    for node in statements(owner.body):
        if not isinstance(node, (ast.ClassDef, *FUNCTION)):
            continue
        is_inherited = isinstance(owner, ast.ClassDef) and is_told_above(owner, node.name, classes)
        if not node.name.startswith("_") and not ast.get_docstring(node) and not is_inherited:
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in silent_in(node, classes))


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a body, and those under its `if` and `try`."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            yield from statements([part for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt)])


def is_told_above(owner: ast.ClassDef, name: str, classes: Classes) -> bool:
    for base in owner.bases:
        above = classes.get(ast.unparse(base).partition("[")[0].rpartition(".")[2])
        if above is not None:
            methods = {node.name: node for node in above.body if isinstance(node, FUNCTION)}
            if (name in methods and ast.get_docstring(methods[name])) or is_told_above(above, name, classes):
                return True
    return False


def stale_arguments(modules: dict[str, ast.Module]) -> list[str]:
    """What docstrings describe under `Args:` and the signature does not have: a parameter that was renamed or removed."""
    nodes = [(path, node) for path, tree in modules.items() for node in ast.walk(tree)]
    found = [(path, node) for path, node in nodes if isinstance(node, (ast.ClassDef, *FUNCTION))]
    return sorted(f"{path}: {node.name}: {name}" for path, node in found for name in described(node) - parameters(node))


def described(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    section = re.search(r"^Args:\n((?:(?:    .*)?\n?)*)", ast.get_docstring(node) or "", re.MULTILINE)
    heads = re.findall(r"^    (\w+(?:, \w+)*): ", section[1] if section else "", re.MULTILINE)
    return {name for head in heads for name in head.split(", ")}


def parameters(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Those of a function; of a class those of its `__init__`, or its fields."""
    if isinstance(node, ast.ClassDef):
        fields = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
        made = [one for one in node.body if isinstance(one, FUNCTION) and one.name == "__init__"]
        return fields.union(*map(parameters, made))
    return {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}


def test_every_public_name_has_a_docstring():
    """Classes, functions, methods, properties and the modules themselves."""
    assert silent_names(read_package()) == []


def test_this_guard_sees_what_is_silent():
    """Functions under `if`, methods, properties; not private and nested ones, or those with a docstring in a base class."""
    text = '''
class Base:
    """Told."""
    def told(self):
        """Told."""
        def nested(): ...
    def silent(self): ...
    @property
    def size(self): ...
class Child(Base):
    """Told."""
    def told(self): ...
    def silent(self): ...
class _Private:
    def method(self): ...
    def _part(self): ...
if True:
    def beneath(): ...
'''
    expected = ["m.py", "m.py: Base.silent", "m.py: Base.size", "m.py: Child.silent", "m.py: _Private.method", "m.py: beneath"]
    assert silent_names({"m.py": ast.parse(text)}) == expected


def test_docstrings_describe_the_parameters_that_there_are():
    """A name under `Args:` is one of the signature."""
    assert stale_arguments(read_package()) == []


def test_this_guard_sees_a_parameter_that_was_renamed():
    """Of functions, of classes with `__init__`, of dataclasses; not words in the middle of a description."""
    text = '''
def work(log_line, *rest, **more):
    """Work.

    Args:
        say: called with each line, and
            so: this is no name.
        rest, more: the others.

    Returns:
        other: this neither.
    """
class Reader:
    """Reads.

    Args:
        path: of the file.
        mode: gone.
    """
    def __init__(self, path): ...
class Row:
    """A row.

    Args:
        size: of it.
        colour: gone.
    """
    size: int
'''
    assert stale_arguments({"m.py": ast.parse(text)}) == ["m.py: Reader: mode", "m.py: Row: colour", "m.py: work: say"]
