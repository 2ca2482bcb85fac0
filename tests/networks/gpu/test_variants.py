"""Compiled for cards that are not there: which variants there are, that none spills, and that loops carry what they assign."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
import triton.language as tl
from triton._C.libtriton import ir
from triton.compiler import code_generator
from triton.compiler.compiler import make_backend

from hpcnas.benchmarks.genotypes import load_genotypes
from hpcnas.evolution.initialization import random_genotype
from hpcnas.networks.gpu.launch import Launch
from hpcnas.networks.gpu.plans import PassPlan
from hpcnas.networks.gpu.variants import KernelVariant, compile_variant, variants_of
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.space import HIERARCHICAL
from tests.networks.gpu.machine_code import usage
from tests.networks.gpu.material import tiny

COMMITTED = Path(__file__).with_name("variants.txt").read_text().splitlines()
BENCH = load_genotypes()
LEAST_SHARED = 101_376  # bytes that a program can have on the smallest cards from Ampere on: sm_86, sm_89, sm_120
DEPTHWISE = ("depthwise_forward", "depthwise_backward")


def plan(genotype: Genotype) -> PassPlan:
    """The paper's sizes."""
    sizes = {"channels": 16, "cells": 1, "classes": 10, "in_channels": 3, "batch": 256, "crop": 24, "image_px": 32}
    return PassPlan(genotype_to_json(genotype), evaluation_batch=500, **sizes)


def every_variant(arch: int) -> list[KernelVariant]:
    return variants_of([launch for name in ("published", "dense") for launch in plan(BENCH[name]).launches()], arch)


def full_size_variants(genotype: Genotype, arch: int, classes: int = 10) -> list[KernelVariant]:
    """Of the paper's CIFAR model, whose evaluation is torch's."""
    sizes = {"channels": 64, "cells": 2, "classes": classes, "in_channels": 3, "batch": 256, "crop": 24, "image_px": 32}
    return variants_of(PassPlan(genotype_to_json(genotype), evaluation_batch=0, model="cifar", **sizes).launches(5), arch)


def stems(in_channels: int) -> list[Launch]:
    """Of images of so many channels, for a narrow and a wide stem, in training and evaluation."""
    found = []
    for channels in (16, 64):
        sizes = {"channels": channels, "cells": 1, "classes": 10, "batch": 256, "crop": 24, "image_px": 32}
        made = PassPlan(genotype_to_json(tiny("smallest")), in_channels=in_channels, evaluation_batch=500, **sizes)
        found += [launch for launch in made.launches() if launch.name.startswith("stem")]
    return found


def widest_of_each_kernel(arch: int) -> list[KernelVariant]:
    """One variant of each kernel: the one that needs most registers is among the widest."""
    return list({variant.text.partition("[")[0]: variant for variant in every_variant(arch)}.values())


def misfits(variants: list[KernelVariant], arch: int) -> list[str]:
    """Those that spill, or need more shared memory than a smaller card has."""
    used = {variant.text: usage(compile_variant(variant, arch)) for variant in variants}
    return [f"{text}: {one}" for text, one in used.items() if one.stack > 0 or one.shared > LEAST_SHARED]


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def test_the_committed_list_is_what_the_densest_genotypes_need():
    assert sorted(variant.text for variant in every_variant(90)) == COMMITTED


@pytest.mark.parametrize("name", BENCH)
def test_no_genotype_of_the_bench_needs_another_variant(name):
    assert {variant.text for variant in variants_of(plan(BENCH[name]).launches(), 90)} <= set(COMMITTED)


@pytest.mark.parametrize("seeds", [range(start, start + 10) for start in range(0, 50, 10)])
def test_no_random_genotype_needs_another_variant(seeds):
    drawn = [random_genotype(HIERARCHICAL, Random(seed), mutations=300) for seed in seeds]
    launches = [launch for genotype in drawn for launch in plan(genotype).launches()]
    assert {variant.text for variant in variants_of(launches, 90)} <= set(COMMITTED)


@pytest.mark.parametrize("name", BENCH)
def test_a_full_size_training_needs_five_variants_of_its_own_whatever_the_genotype(name):
    """The stem, 64 wide; a stride of 2 at that width; and a product of more tiles."""
    own = {variant.text.partition("(")[0] for variant in full_size_variants(BENCH[name], 90) if variant.text not in COMMITTED}
    assert {text.partition("[")[0] for text in own} <= {"stem_forward", "stem_backward", "product_backward", *DEPTHWISE}
    assert len(own) <= 5


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_fewer_runs_need_no_other_variant(runs):
    assert {variant.text for variant in variants_of(plan(BENCH["dense"]).launches(runs), 90)} <= set(COMMITTED)


def test_one_variant_of_each_kernel_compiles_and_fits(own_cache):
    assert misfits(widest_of_each_kernel(90), 90) == []


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("arch", [80, 90])
def test_every_variant_compiles_and_fits(arch, own_cache):
    full_size = [variant for classes in (10, 100) for variant in full_size_variants(BENCH["dense"], arch, classes)]
    assert misfits([*every_variant(arch), *full_size], arch) == []


@pytest.mark.parametrize("in_channels", [4, 8, 15])
def test_with_more_channels_a_stem_holds_fewer_rows_and_is_cut_into_as_many_chunks(in_channels):
    """A tile of patches as large as that of three channels, so that registers hold it."""
    for few, many in zip(stems(3), stems(in_channels), strict=True):
        assert many.name == few.name
        rows = many.own["BLOCK"]
        assert rows * many.own["BK"] <= few.own["BLOCK"] * few.own["BK"] or rows == 16
        assert many.grid == few.grid


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("in_channels", [4, 8, 15])
@pytest.mark.parametrize("arch", [80, 90])
def test_a_stem_of_more_channels_compiles_and_fits(arch, in_channels, own_cache):
    """From 4 channels on a row of patches is 64 wide, from 8 on 128, from 15 to the most, 16, 256."""
    assert misfits(variants_of(stems(in_channels), arch), arch) == []


@pytest.fixture
def not_carried(monkeypatch) -> set[tuple[str, str]]:
    """Variables that a loop assigns and the compiler takes for unchanged, as (function, name), of what is compiled meanwhile.

    Triton finds what a loop carries by one dry pass: a variable counts as changed if it is another tensor afterwards. One
    that starts as the tensor that another starts as (j = k), and takes that one's value in the loop (j = k; k = l), is then
    the same tensor, and silently keeps its first value in every turn. The interpreter, plain Python, does not show it.
    """
    found: set[tuple[str, str]] = set()
    find = code_generator.CodeGenerator._find_carries

    def checked(self: Any, node: Any, liveins: Any, ignore: Any = frozenset()) -> Any:
        assigned: set[str] = set()
        visit = self.visit_compound_statement

        def recording(statements: Any) -> None:
            visit(statements)
            if statements is node.body:
                assigned.update(self.local_defs)

        self.visit_compound_statement = recording
        try:
            carried = find(self, node, liveins, ignore)
        finally:
            self.visit_compound_statement = visit
        lost = assigned & set(liveins) - set(carried[0]) - set(ignore)
        found.update((self.function_name, name) for name in lost if code_generator._is_triton_value(liveins[name]))
        return carried

    monkeypatch.setattr(code_generator.CodeGenerator, "_find_carries", checked)
    return found


def parse(launch: Launch, arch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the compiler's front end alone on a launch's kernel."""

    def front_end(source: Any, target: Any, options: dict[str, Any]) -> None:
        backend, context = make_backend(target), ir.context()
        ir.load_dialects(context)
        backend.load_dialects(context)
        parsed = backend.parse_options(options | source.parse_options())
        codegen, modules = backend.get_codegen_implementation(parsed), backend.get_module_map()
        source.make_ir(target, parsed, codegen, modules, context)

    variants_of([launch], arch)  # Triton sets `compile` when it first sees a kernel
    kernels = launch.kernel.device_caches[f"sm_{arch}"][0]
    before = dict(kernels)
    kernels.clear()
    with monkeypatch.context() as patch:
        patch.setattr(launch.kernel, "compile", front_end)
        compile_variant(KernelVariant("", "", launch), arch)
    kernels.clear()
    kernels.update(before)


def test_loops_carry_every_variable_that_they_assign(not_carried, monkeypatch):
    for variant in every_variant(90):
        parse(variant.launch, 90, monkeypatch)
    assert not_carried == set()


@triton.jit
def loses_a_variable(tasks, runs, C: tl.constexpr):
    k = tl.load(tasks)
    j = k
    for row in range(runs):
        tl.store(tasks, j)
        j = k
        k = tl.load(tasks + row)


def test_a_lost_variable_is_found(not_carried, monkeypatch):
    import torch

    launch = Launch("", loses_a_variable, (1, 1), 0, {"C": 1})
    launch.bind({"tasks": torch.empty(64, dtype=torch.int64, device="meta"), "runs": 4}, 4)
    parse(launch, 90, monkeypatch)
    assert {name for _, name in not_carried} == {"j"}
