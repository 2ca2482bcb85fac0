"""The files around the code agree with the code: citation, CI, hooks, issue templates, how to contribute."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

import hpcnas
from hpcnas.cli import build_app
from tests.oldest_dependencies import oldest, tools
from tests.processes import ROOT

SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile, with the environment's folder written out."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found, target
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found[1].splitlines()]


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    citation = read("CITATION.cff")
    assert citation["version"] == hpcnas.__version__
    assert citation["authors"] == [{"name": "hpcnas developers"}]
    assert f'license="{citation["license"]}"' in SETUP
    paper = citation["preferred-citation"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert paper["title"] in readme
    assert paper["url"] in readme
    assert all(author["family-names"] in readme for author in paper["authors"])


def test_ci_runs_what_a_fresh_clone_runs() -> None:
    jobs = read(".github/workflows/ci.yml")["jobs"]
    for job in jobs.values():
        assert job["steps"][-1]["run"].split()[0] == ".ci/run"
    assert jobs["test"]["steps"][-1]["run"] == ".ci/run"
    lowest = re.search(r'python_requires=">=([\d.]+)"', SETUP)
    assert lowest
    assert jobs["test"]["strategy"]["matrix"]["python"][0] == lowest[1]


@pytest.mark.parametrize("asked", [[], ["lint", "types"]], ids=["test", "named"])
def test_ci_makes_what_it_is_asked_for_and_else_everything(asked: list[str], tmp_path: Path) -> None:
    """With nothing skipped for a missing installation."""
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$PWD $*"; env | grep ^HPCNAS_REQUIRE_', encoding="utf-8")
    make.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([ROOT / ".ci/run", *asked], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    first, *required = done.stdout.splitlines()
    assert first == f"{ROOT} {' '.join(asked or ['test'])}"
    assert sorted(required) == [f"HPCNAS_REQUIRE_{what}=1" for what in ("BROWSER", "COMPILER", "SLURM")]


def test_ci_has_a_job_with_the_oldest_dependencies() -> None:
    """The file that the job writes is the one that make installs by."""
    job = read(".github/workflows/ci.yml")["jobs"]["oldest"]
    assert job["steps"][-2]["run"].endswith(f"> {job['env']['CONSTRAINTS']}")
    assert all("-c $(CONSTRAINTS)" in line for line in MAKEFILE.splitlines() if "pip install" in line)


def test_the_job_with_the_oldest_makes_what_test_makes_without_its_checks() -> None:
    everything = re.search(r"^test: (.+)$", MAKEFILE, re.MULTILINE)
    assert everything
    program, *targets = read(".github/workflows/ci.yml")["jobs"]["oldest"]["steps"][-1]["run"].split()
    assert program == ".ci/run"
    assert targets == [target for target in everything[1].split() if target not in {"lint", "types"}]


def test_hooks_are_the_checks_of_make() -> None:
    hooks = [hook["entry"] for hook in read(".pre-commit-config.yaml")["repos"][0]["hooks"]]
    checks = [line.removesuffix(" .") for target in ("lint", "types") for line in recipe(target)]
    assert set(hooks) <= set(checks)
    assert len(hooks) == 4


def test_oldest_dependencies_are_the_lower_bounds() -> None:
    bounds = oldest('digits = ["scikit-learn>=1.5"]\nsetup(install_requires=["torch>=2.11"], author="x", **{})')
    assert bounds == {"scikit-learn": "1.5", "torch": "2.11"}
    with pytest.raises(ValueError, match=r"numpy in setup\.py has no lower"):
        oldest('page = ["numpy"]')


def test_every_dependency_of_users_has_a_lower_bound_and_a_pin() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in pins.splitlines()}
    assert {name.lower() for name in oldest(SETUP)} <= pinned
    assert {line.partition("==")[0] for line in tools(pins, SETUP)} >= {"pytest", "ruff", "mypy", "mkdocs-material", "build"}


@pytest.mark.parametrize("template", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name)
def test_issue_templates_ask_for_commands_that_exist(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    commands = typer.main.get_command(build_app()).commands
    assert set(re.findall(r"\bhpcnas ([a-z]+)", text)) <= set(commands)
    for part in yaml.safe_load(text).get("body", []):
        assert part["type"] in {"textarea", "input"}
        assert part["attributes"]["label"]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_place_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`((?:hpcnas|tests|sql|docs)/[\w/.-]*)`", (ROOT / page).read_text(encoding="utf-8"))
    assert len(named) > 4
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ["PRIMITIVES", "make_primitive", "_READERS", "FAMILIES", "report_tables"])
def test_a_name_that_contributing_gives_is_in_the_file_that_it_gives(name: str) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (sentence,) = [line for line in text.splitlines() if f"`{name}`" in line]
    files = re.findall(r"`(hpcnas/[\w/]+\.py)`", sentence)
    assert any(re.search(rf"\b{name}\b", (ROOT / file).read_text(encoding="utf-8")) for file in files)


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "hpcnas/py.typed").read_bytes() == b""
    assert '"Typing :: Typed"' in SETUP
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["strict"]
