"""The command line's manners: groups, examples, -h, no types for switches, completion."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from hpcnas.cli import build_app, main
from hpcnas.commands.final_options import final_options
from hpcnas.commands.head_options import PLACES
from hpcnas.option import Option
from tests.docs.commands import ROOT

APP = typer.main.get_command(build_app())


def leaves() -> Iterator[tuple[str, ...]]:
    for name, command in APP.commands.items():
        inner = getattr(command, "commands", {})
        yield from ((name, other) for other in inner) if inner else [(name,)]


LEAVES = list(leaves())


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 250)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def found(names: tuple[str, ...]) -> typer.core.TyperCommand:
    command = APP
    for name in names:
        command = command.commands[name]
    return command


@pytest.mark.parametrize("names", LEAVES, ids=" ".join)
def test_help_has_short_name_and_examples_and_no_type_for_switches(
    names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, *names, "-h")
    assert text == shown(capsys, *names, "--help")
    assert "<bool>" not in text
    examples = [line.split() for line in text.split("Examples:")[1].splitlines() if line.strip()]
    assert len(examples) == 2
    for words in examples:
        assert tuple(words[1 : 1 + len(names)]) == names
        given = words[1 + len(names) : words.index(">") if ">" in words else None]
        found(names).make_context(" ".join(names), given)  # raises what the shell would show


@pytest.mark.parametrize("names", LEAVES, ids=" ".join)
def test_help_shows_the_whole_sentence_of_every_option(names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Rich takes what stands in brackets for a style and leaves it out."""
    text = " ".join(shown(capsys, *names, "--help").replace("│", " ").split())
    for param in found(names).params:
        sentence = " ".join((param.help or "").replace("\\[", "[").split())
        assert sentence in text, param.name


@pytest.mark.parametrize(("command", "options"), [("head", PLACES.values()), ("final", final_options())])
def test_help_shows_the_choices_of_an_option(command: str, options: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, command, "--help")
    choices = [one.choices for pair in options for one in pair if isinstance(one, Option) and one.choices]
    assert len(choices) >= 4
    for words in choices:
        assert f"<{'|'.join(words)}>" in text


def test_commands_are_grouped(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--help")
    places = [text.index(f"─ {group} ─") for group in ("Run", "Look", "Take away", "Measure")]
    assert places == sorted(places)
    assert "─ Commands ─" not in text
    assert "<bool>" not in text


@pytest.mark.parametrize("group", [(), ("bench",)])
def test_no_command_is_a_question_for_help(group: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, *group) == shown(capsys, *group, "--help")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("hpcnas head --search ", ["evolution", "random"]),
        ("hpcnas final best --tail ", ["none", "stride1", "stride2"]),
        ("hpcnas fail", ["failures"]),
        ("hpcnas head --learn", ["--learning-rate"]),
    ],
)
def test_the_shell_completes_commands_options_and_choices(words: str, expected: list[str]) -> None:
    asked = {"_HPCNAS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "hpcnas"], env=os.environ | asked, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == expected


@pytest.mark.parametrize("names", LEAVES, ids=" ".join)
def test_a_help_is_broken_at_the_end_of_a_sentence(names: tuple[str, ...]) -> None:
    """A terminal keeps the line breaks of a docstring, and breaks lines at its own width besides."""
    lines = [line for line in (found(names).help or "").splitlines() if line]
    assert lines
    assert [line for line in lines if not line.endswith((".", ")"))] == []
