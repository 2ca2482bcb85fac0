"""jobs/reproduce_table1.sh with a stand-in for sbatch that writes down what it is asked."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpcnas.cli import main
from hpcnas.representation.codec import read_genotype
from tests.report.populations import make_run

SCRIPT = Path(__file__).parents[2] / "jobs" / "reproduce_table1.sh"
SEARCHES = ("hierarchical-evolution", "flat-evolution", "flat-constrained-evolution", "hierarchical-random")
SBATCH = """#!/bin/bash
id=$(( $(cat "$LOG.count" 2>/dev/null || echo 100) + 1 )); echo $id > "$LOG.count"
[ "$id" -le "${REFUSE_FROM:-999}" ] || { echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1; }
printf '%s\\t%s\\t%s\\t%s\\t%s\\n' $id "$HPCNAS_RUN" "$HPCNAS_GENOTYPE" "$HPCNAS_ARGS" "$*" >> "$LOG"
echo "$id;cluster"
"""


@pytest.fixture
def site(tmp_path):
    """An environment in which sbatch is the stand-in."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text(SBATCH)
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "LOG": str(tmp_path / "log"), "HPCNAS_DATA": "/data", "HPCNAS_IMAGENET": "/imagenet"}


def reproduce(site, tmp_path, *arguments):
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], cwd=tmp_path, env=site, capture_output=True, text=True, check=False
    )


def submitted(tmp_path):
    """{job name: (id, run, genotype, further options, sbatch's words)}"""
    jobs = {}
    for line in (tmp_path / "log").read_text().splitlines():
        number, run, genotype, options, words = line.split("\t")
        jobs[re.search(r"--job-name (\S+)", words)[1]] = (number, run, genotype, options, words)
    return jobs


def after(jobs, name):
    found = re.search(r"--dependency=(\w+):(\S+)", jobs[name][4])
    return (found[1], set(found[2].split(":"))) if found else None


def test_the_chain_waits_for_what_it_needs(site, tmp_path):
    """Trainings wait for the choice of their genotype, that for its search, the report for all trainings."""
    done = reproduce(site, tmp_path, "--runs", "t1")
    assert done.returncode == 0, done.stderr
    jobs = submitted(tmp_path)
    for search in SEARCHES:
        assert after(jobs, f"search-{search}") is None
        assert after(jobs, f"select-{search}") == ("afterok", {jobs[f"search-{search}"][0]})
    finals = {name: job for name, job in jobs.items() if name.startswith(("cifar-", "imagenet-"))}
    assert len(finals) == 16
    for name in finals:
        search = re.search(r"-(.*)-(architecture|search|best)$", name)[1]
        assert after(jobs, name) == ("afterok", {jobs[f"select-{search}"][0]})
    assert after(jobs, "report") == ("afterany", {job[0] for job in finals.values()})
    assert all("--kill-on-invalid-dep=yes" in job[4] for name, job in jobs.items() if not name.startswith("search"))


def test_the_defaults_are_the_papers(site, tmp_path):
    assert reproduce(site, tmp_path, "--runs", "t1").returncode == 0
    jobs = submitted(tmp_path)
    _, run, _, options, words = jobs["search-flat-constrained-evolution"]
    assert run == "t1/flat-constrained-evolution"
    wanted = "--space flat-constrained --search evolution --steps 7000 --population 200 --train-steps 5000 --workers 200"
    assert options == wanted
    assert words.endswith("jobs/search.sh")
    assert jobs["cifar-flat-evolution-search"][2:4] == ("t1/flat-evolution/table1-search.json", "--steps 80000")
    assert "--array=0-4" in jobs["cifar-flat-evolution-search"][4]
    assert jobs["imagenet-hierarchical-random-best"][3] == "--steps 200000"


def test_a_rehearsal_is_the_same_chain_on_a_hundredth(site, tmp_path):
    assert reproduce(site, tmp_path, "--scale", "0.01", "--no-imagenet").returncode == 0
    jobs = submitted(tmp_path)
    assert "--steps 70 --population 8 --train-steps 50 --workers 2" in jobs["search-hierarchical-random"][3]
    assert jobs["cifar-hierarchical-random-best"][3] == "--steps 800"
    assert "--array=0-1" in jobs["cifar-hierarchical-random-best"][4]
    assert not [name for name in jobs if name.startswith("imagenet")]


def test_further_options_come_last(site, tmp_path):
    site = {**site, "HPCNAS_SEARCH_ARGS": "--precision fp32", "HPCNAS_FINAL_ARGS": "--channels 16"}
    assert reproduce(site, tmp_path).returncode == 0
    jobs = submitted(tmp_path)
    assert jobs["search-flat-evolution"][3].endswith(" --precision fp32")
    assert jobs["cifar-flat-evolution-best"][3] == "--steps 80000 --channels 16"


def test_nodes_of_four_gpus_are_asked_for_four(site, tmp_path):
    """For the trainings on ImageNet alone."""
    assert reproduce({**site, "HPCNAS_GPUS_PER_NODE": "4"}, tmp_path).returncode == 0
    asked = {name for name, job in submitted(tmp_path).items() if "--gpus-per-node=4 --ntasks-per-node=4 " in job[4]}
    assert asked == {name for name in submitted(tmp_path) if name.startswith("imagenet-")}


def test_a_dry_run_submits_and_makes_nothing(site, tmp_path):
    done = reproduce(site, tmp_path, "--dry-run", "--runs", "t1")
    assert done.returncode == 0
    assert not (tmp_path / "log").exists()
    assert not (tmp_path / "t1").exists()
    assert done.stderr.count("sbatch --parsable --export=ALL ") == 4 + 4 + 16 + 1


def test_a_refusal_ends_the_chain_with_the_clusters_exit_code(site, tmp_path):
    done = reproduce({**site, "REFUSE_FROM": "105"}, tmp_path)
    assert done.returncode == 4
    assert "QOSMaxSubmitJobPerUserLimit" in done.stderr
    assert "Slurm refused" in done.stderr


@pytest.mark.parametrize("arguments", [["--scale", "0"], ["--scale", "2"], ["--scale", "much"], ["--workers"], ["--what"]])
def test_wrong_usage_is_one_sentence(site, tmp_path, arguments):
    done = reproduce(site, tmp_path, *arguments)
    assert done.returncode != 0
    assert "reproduce_table1.sh" in done.stderr
    assert not (tmp_path / "log").exists()


def test_the_genotypes_of_a_finished_search_are_chosen_as_table_1_has_them(site, tmp_path, capsys):
    folder = make_run(tmp_path / "run", 60, population=20)
    done = reproduce(site, tmp_path, "--select", str(folder.path))
    assert done.returncode == 0, done.stderr
    for place in ("architecture", "search", "best"):
        read_genotype(folder.path / f"table1-{place}.json")
    assert main(["report", str(folder.path), "--format", "json"]) == 0
    own = [row for row in json.loads(capsys.readouterr().out)["table1"] if not row["published"]]
    assert own[0]["individual"] == 1


def test_the_last_job_reports_the_runs_that_are_there(site, tmp_path):
    """A search that never began leaves no run folder, and the others their report."""
    make_run(tmp_path / "t1" / "flat-evolution", 30)
    done = reproduce(site, tmp_path, "--report", "--runs", "t1")
    assert done.returncode == 0, done.stderr
    for ending in ("txt", "tex", "html"):
        assert "flat-evolution" in (tmp_path / "t1" / f"table1.{ending}").read_text()
    assert (tmp_path / "t1" / "figures" / "figure3.svg").exists()
