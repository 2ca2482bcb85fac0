"""Evaluators: which one a recipe names, what they promise, and what they call a finding."""

import signal
import subprocess
import sys

import pytest

from hpcnas.config import RecipeConfig
from hpcnas.errors import UsageError
from hpcnas.records import FailureKind
from hpcnas.representation.presets import PUBLISHED
from hpcnas.training.fitness.evaluator import EvaluationFailed, repeat_seed
from hpcnas.training.fitness.evaluators import FunctionEvaluator, check_fitness, load_evaluator


def test_a_repeat_has_its_own_seed_that_never_changes():
    seeds = {repeat_seed(run, genotype, repeat) for run in (0, 1) for genotype in ("a", "b") for repeat in range(4)}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert repeat_seed(0, "a", 0) == 6152854164166434909, "stored runs hold seeds of this formula"


def test_a_users_function_gives_each_repeat():
    calls = []

    def fitness(genotype, repeat, seed, progress):
        calls.append((genotype, repeat, seed))
        progress(0.5)
        return 0.25 * repeat

    shares = []
    results = list(FunctionEvaluator(fitness, "mine").evaluate(PUBLISHED, {1: 11, 3: 33}, progress=shares.append))
    assert [(r.repeat, r.accuracy, r.seed) for r in results] == [(1, 0.25, 11), (3, 0.75, 33)]
    assert calls == [(PUBLISHED, 1, 11), (PUBLISHED, 3, 33)]
    assert shares == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (float("nan"), FailureKind.NOT_A_NUMBER),
        (float("inf"), FailureKind.NOT_A_NUMBER),
        (1.5, FailureKind.CRASH),
        (-0.1, FailureKind.CRASH),
        ("0.5", FailureKind.CRASH),
        (None, FailureKind.CRASH),
        (True, FailureKind.CRASH),
    ],
)
def test_what_is_no_accuracy_is_refused(value, kind):
    with pytest.raises(EvaluationFailed, match="must return a number from 0 to 1") as caught:
        list(FunctionEvaluator(lambda *a, **k: value, "mine").evaluate(PUBLISHED, {0: 0}, progress=lambda share: None))
    assert caught.value.kind is kind


def test_what_progress_raises_goes_through():
    class Stop(Exception):
        pass

    def stop(share):
        raise Stop

    for evaluator in (FunctionEvaluator(lambda *a, **k: 0.5, "mine"), load_evaluator(RecipeConfig(fitness="synthetic"))):
        with pytest.raises(Stop):
            list(evaluator.evaluate(PUBLISHED, {0: 0}, progress=stop))


@pytest.mark.parametrize(
    "fitness", ["nope", "no.such.module:f", "json:nothing", "json:__name__", "synthetic:x", "synthetic:-1", ":f"]
)
def test_a_fitness_that_cannot_be_had_is_refused_at_once(fitness):
    for check in (check_fitness, lambda name: load_evaluator(RecipeConfig(fitness=name))):
        with pytest.raises(UsageError, match="--fitness"):
            check(fitness)


def test_a_function_beside_the_user_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_fitness_module.py").write_text("def f(genotype, repeat, seed, progress):\n    return 0.5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    evaluator = load_evaluator(RecipeConfig(fitness="my_fitness_module:f"))
    assert [r.accuracy for r in evaluator.evaluate(PUBLISHED, {0: 1}, progress=lambda share: None)] == [0.5]


@pytest.mark.slow
def test_neither_contract_nor_synthetic_fitness_import_torch():
    code = "import sys; from hpcnas.training.fitness.evaluators import load_evaluator; from hpcnas.config import RecipeConfig; "
    code += "load_evaluator(RecipeConfig(fitness='synthetic')); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("import sys; sys.exit(3)", "ends the program (SystemExit: 3)"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--odd'])", "ends the program (SystemExit: 2)"),
        ("def f(genotype, **_) return 0.5", "cannot be read (SyntaxError: "),
        ("\nraise ValueError('two\\nlines')", "fails (ValueError: two lines; script.py, line 2)"),
        ("import json; json.nothing", "fails (AttributeError: module 'json' has no attribute 'nothing'; script.py, line 1)"),
        ("class Odd(BaseException): pass\nraise Odd", "fails (Odd; script.py, line 2)"),
        ("import no_such_module", "No module named 'no_such_module'"),
    ],
)
def test_a_module_that_leaves_or_breaks_at_import_is_one_sentence(content, told, tmp_path, monkeypatch):
    (tmp_path / "script.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "script", raising=False)
    with pytest.raises(UsageError) as caught:
        check_fitness("script:f")
    assert str(caught.value).startswith("--fitness script:f cannot be imported: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_does_not_read_the_arguments_of_this_program(tmp_path, monkeypatch):
    (tmp_path / "script.py").write_text("import sys\nseen = sys.argv\ndef f(): return 0.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "script", raising=False)
    before = list(sys.argv)
    check_fitness("script:f")
    assert sys.modules["script"].seen == ["script"]
    assert sys.argv == before


def test_a_persons_interrupt_during_an_import_stays_one(tmp_path, monkeypatch):
    (tmp_path / "script.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "script", raising=False)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever an earlier test has left
    try:
        with pytest.raises(KeyboardInterrupt):
            check_fitness("script:f")
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_module_that_interrupts_beside_a_handler_of_ours_is_named(tmp_path, monkeypatch):
    (tmp_path / "script.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "script", raising=False)
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        with pytest.raises(UsageError, match="module script fails"):
            check_fitness("script:f")
    finally:
        signal.signal(signal.SIGINT, before)
