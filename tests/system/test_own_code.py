"""Code of users: what is said of a module that cannot be imported."""

from pathlib import Path

import pytest

from hpcnas.errors import UsageError
from hpcnas.system.own_code import import_own_function, import_own_module


def test_the_name_of_a_file_is_answered_by_that_of_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_of_a_file.py").write_text("def load(train):\n    return None\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"give the module without \.py, as --primitives mine_of_a_file$"):
        import_own_module("--primitives", "mine_of_a_file.py", "mine_of_a_file.py")
    with pytest.raises(UsageError, match=r"give the module without \.py, as --dataset mine_of_a_file:load$"):
        import_own_function("--dataset", "mine_of_a_file.py:load", "f(train=True)")


def test_a_fault_is_placed_in_a_file_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the code that dataclasses make of their fields, which is in no file."""
    lines = ["import hpcnas", "", "PRIMITIVES = [hpcnas.Primitive('a name', emits='C', make=None)]"]
    (tmp_path / "mine_badly_named.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"is no name for a primitive .*; mine_badly_named\.py, line 3\)"):
        import_own_module("--primitives", "mine_badly_named", "mine_badly_named")
