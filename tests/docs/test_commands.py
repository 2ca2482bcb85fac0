"""Every command that README.md and docs/*.md show is run here, or rehearsed as far as it can be."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from hpcnas.commands.head_options import PLACES
from hpcnas.option import shown_default
from tests.docs.commands import DOCUMENTS, MARKS, ROOT, Fence, commands, fences
from tests.docs.rehearsal import Stage

SHELL_WORDS = {"cd", "export", "mkdir", "ls", "cat", "scp", "rsync", "ssh", "tmux", "source", "cp", "nohup"}
LONG_S = 600  # of one document, on a busy machine


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return Stage(tmp_path_factory.mktemp("stage"))


def by_name(path):
    return path.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_every_fence_is_marked(document):
    for fence in fences(document):
        assert fence.mark in MARKS[fence.language], f"{fence.where}: mark it as one of {MARKS[fence.language]}"


@pytest.mark.timeout(LONG_S)
@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if any(fence.mark == "run" for fence in fences(path))], ids=by_name
)
def test_commands_run_in_the_order_of_reading(document, tmp_path):
    """In one empty folder per document, which sees the repository's jobs/; nothing may fail."""
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HPCNAS_", "SLURM_", "COV_"))}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "default",
    }
    for fence in fences(document):
        if fence.mark == "run":
            command = ["bash", "-euo", "pipefail", "-c"] if fence.language == "bash" else [sys.executable, "-c"]
            done = subprocess.run(
                [*command, fence.text], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{fence.where} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"


@pytest.mark.timeout(LONG_S)
@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_commands_that_need_more_than_this_machine_are_rehearsed(document, stage):
    for fence in fences(document):
        if fence.language == "bash" and fence.mark == "check":
            for words in commands(fence):
                check(words, fence.where, stage)


def check(words, where, stage):
    """Ours must go well as far as it can go here, a script of ours must exist and be bash, any other is the shell's."""
    if words[:2] == ["python", "-m"]:
        words = ["hpcnas", words[2].removeprefix("hpcnas."), *words[3:]]
    name = words[0]
    if name == "hpcnas":
        trouble = stage.rehearse(words[1:])
        assert not trouble, f"{where}: {' '.join(words)}: {trouble}"
    elif name in ("sbatch", "bash"):
        script = next(word for word in words[1:] if not word.startswith("-"))
        assert (ROOT / script).is_file(), f"{where}: there is no {script}"
        path = str(ROOT / script)
        has_dry_run = "--dry-run)" in (ROOT / script).read_text()
        command = ["bash", path, "--dry-run"] if has_dry_run else ["bash", "-n", path]
        subprocess.run(command, check=True, capture_output=True)
    else:
        assert name in SHELL_WORDS | {"squeue", "scancel", "srun", "sinfo", "chromium"}, (
            f"{where}: {name} is not known to this test"
        )


@pytest.mark.parametrize(
    "wrong",
    [
        "hpcnas head --search genetic",
        "hpcnas head --tournament 7",
        "hpcnas head --dataset cifar11",
        "hpcnas head --slurm constraint --partition gpu",
        "hpcnas final best --tail x",
        "hpcnas final best --runs 0",
        "hpcnas final best --cluster slurm --slurm nodes=2",
        "hpcnas final 41",
        "hpcnas count published --model small,cifar,imagnet",
        "hpcnas count published --channels 0",
        "hpcnas evaluate published --dataset digit",
        "hpcnas report --format pdf",
        "hpcnas show best --format gif",
        "hpcnas doctor --workers -1",
        "hpcnas population --top 0",
        "hpcnas simulate --duration often",
        "hpcnas retry all",
        "hpcnas searches",
    ],
)
def test_a_wrong_value_in_a_document_would_be_found(wrong, stage):
    with pytest.raises(AssertionError, match="here: hpcnas"):
        check(wrong.split(), "here", stage)


def test_the_arguments_that_a_batch_script_passes_on_are_checked_too():
    fence = Fence("x.md", 1, "bash", "check", 'HPCNAS_RUN=r HPCNAS_ARGS="--steps 5" sbatch --array=0-4 jobs/search.sh\n')
    assert commands(fence) == [["sbatch", "--array=0-4", "jobs/search.sh"], ["hpcnas", "head", "--steps", "5"]]


def test_the_contract_names_every_option_of_the_head_with_its_choices_or_default():
    """The paragraph of docs/design.md on which scripts may rely."""
    paragraph = (ROOT / "docs/design.md").read_text().split("Head's options")[1].split("`")[1].split()
    values = {
        flag: "" if value.startswith("--") else value.removesuffix("...")
        for flag, value in pairwise([*paragraph, "--"])
        if flag.startswith("--")
    }
    for _, one in PLACES.values():
        assert one.flag in values, f"docs/design.md does not name {one.flag}"
        value = values[one.flag]
        if one.choices:
            assert value == ",".join(one.choices), one.flag
        elif (one.item or one.kind) in (int, float):
            assert value in ("", one.metavar, shown_default(one.default)), one.flag


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_install_commands_name_what_there_is(document):
    """Make's targets and pip's extras."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    extras = set(re.findall(r'^        "(\w+)": ', (ROOT / "setup.py").read_text(), re.MULTILINE))
    for fence in fences(document):
        if fence.language == "bash" and fence.mark == "install":
            for words in commands(fence):
                if words[0] == "make":
                    assert {word for word in words[1:] if "=" not in word} <= targets, f"{fence.where}: {' '.join(words)}"
                for names in re.findall(r"\[([\w,]+)\]", " ".join(words)):
                    assert set(names.split(",")) <= extras, f"{fence.where}: {' '.join(words)}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_links_lead_somewhere(document):
    """Files and, in files of ours, their headings; pictures have a text for those who do not see them."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for picture, title, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, heading = target.partition("#")
        place = (document.parent / path).resolve() if path else document
        assert place.exists(), f"{document.name} leads to {target}"
        assert not picture or title, f"{document.name} shows {target} without saying what it is"
        if heading:
            assert heading in headings(place), f"{document.name} leads to {target}"


def headings(document):
    """The anchors that GitHub gives a document's headings."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
