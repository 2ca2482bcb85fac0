"""The folder of a run: what is said of one that holds none."""

from pathlib import Path

import pytest

from hpcnas.errors import UsageError
from hpcnas.run_folder import RunFolder


def test_the_command_for_a_folder_without_a_run_is_typed_as_it_stands() -> None:
    with pytest.raises(UsageError, match="holds no run") as refused:
        RunFolder(Path("/runs/a b")).require()
    assert "`python -m hpcnas.head --run '/runs/a b'`" in str(refused.value)


def test_an_empty_run_is_refused_instead_of_taken_for_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell passes a variable that is not set as an empty text."""
    monkeypatch.delenv("HPCNAS_RUN", raising=False)
    with pytest.raises(UsageError, match=r"--run '' names no folder; give one, or leave the option out for runs/default"):
        RunFolder.from_option("")
    assert RunFolder.from_option(None).path == Path("runs/default").absolute()
