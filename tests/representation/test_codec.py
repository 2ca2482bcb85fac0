"""Genotype files: what goes out comes back, and what is wrong is refused with one sentence."""

import json
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcnas.errors import GenotypeError
from hpcnas.representation.codec import MAX_BYTES, genotype_from_json, genotype_to_json, read_genotype
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED, identity_chain
from hpcnas.representation.space import FLAT, HIERARCHICAL, SearchSpace

TEXT = genotype_to_json(PUBLISHED)


def values() -> dict:
    return json.loads(TEXT)


@st.composite
def genotypes(draw) -> Genotype:
    """Any shape: one to three levels, motifs of different sizes."""
    levels, pool = [], 6
    for last in [*[False] * draw(st.integers(0, 2)), True]:
        motifs = 1 if last else draw(st.integers(1, 4))
        sizes = [draw(st.integers(2, 5)) for _ in range(motifs)]
        rows = [tuple(tuple(draw(st.integers(0, pool)) for _ in range(i)) for i in range(1, n)) for n in sizes]
        levels.append(tuple(map(Motif, rows)))
        pool = motifs
    return Genotype(tuple(levels))


@settings(max_examples=100, deadline=None)
@given(genotypes(), st.sampled_from([None, 0, 2]))
def test_what_goes_out_comes_back(genotype, indent):
    """For every shape, on one line or many."""
    assert genotype_from_json(genotype_to_json(genotype, indent)) == genotype


def test_the_format_is_the_documented_one():
    """Keys, names and rows as docs/design.md gives them; scripts depend on it."""
    given_values = values()
    assert given_values["format"] == "hpcnas-genotype"
    assert given_values["version"] == 1
    assert given_values["space"] == "hierarchical"
    assert given_values["levels"][0][0] == [
        ["maxpool3x3"],
        ["conv1x1", "depthwise3x3"],
        ["separable3x3", "conv1x1", "maxpool3x3"],
    ]
    assert given_values["levels"][1] == [
        [["motif5"], ["motif3", "motif3"], ["motif3", "motif1", "motif3"], ["motif4", "motif5", "motif5", "motif5"]]
    ]
    flat = json.loads(genotype_to_json(identity_chain(SearchSpace("flat", (1,), (3,)))))
    assert (flat["space"], flat["levels"]) == ("flat", [[[["identity"], ["none", "identity"]]]])
    assert genotype_from_json(genotype_to_json(identity_chain(FLAT))) == identity_chain(FLAT)


def test_an_indented_genotype_keeps_a_row_on_a_line():
    """So that people can read and edit it."""
    lines = genotype_to_json(PUBLISHED, 2).splitlines()
    assert '        ["conv1x1", "depthwise3x3"],' in lines


def _with(**changes) -> str:
    return json.dumps(values() | changes)


def _with_levels(change) -> str:
    levels = values()["levels"]
    change(levels)
    return _with(levels=levels)


BAD = {
    "not JSON": ("{", "not valid JSON"),
    "empty": ("", "not valid JSON"),
    "a list": ("[]", '"format" is missing'),
    "another format": (_with(format="nasbench"), '"format" is "nasbench"'),
    "no format": ('{"version": 1}', '"format" is missing'),
    "a newer version": (_with(version=2), "version 2 is unknown; this hpcnas reads version 1"),
    "a version that is true": (_with(version=True), "version true is unknown"),
    "a version in words": (_with(version="1"), 'version "1" is unknown'),
    "an endless version": (TEXT.replace('"version":1', '"version":' + "9" * 10_000), "not valid JSON"),
    "no levels": ('{"format": "hpcnas-genotype", "version": 1, "space": "flat"}', 'lacks "levels"'),
    "an unknown key": (_with(fitness=1), 'has the unknown key "fitness"'),
    "a key twice": (TEXT[:-1] + ',"space":"flat"}', '"space" more than once'),
    "the wrong space": (
        _with(space="flat"),
        '"space" is "flat"; a genotype of 2 levels above the primitives is "hierarchical"',
    ),
    "levels as text": (_with(levels="none"), '"levels" is "none"'),
    "no level": (_with(levels=[]), '"levels" is a list of 0'),
    "nine levels": (_with(levels=[[[["identity"]]]] * 9), '"levels" is a list of 9; it must be a list of 1 to 8'),
    "an empty motif": (_with_levels(lambda levels: levels[0].__setitem__(0, [])), "level 2 motif 1 is a list of 0"),
    "a motif that is a number": (_with_levels(lambda levels: levels[0].__setitem__(0, 7)), "level 2 motif 1 is 7"),
    "65 motifs": (_with_levels(lambda levels: levels[0].extend([[["none"]]] * 59)), "level 2 is a list of 65"),
    "two cells": (_with_levels(lambda levels: levels[1].append([["motif1"]])), "exactly one motif, the cell"),
    "an unknown operation": (
        TEXT.replace("conv1x1", "conv5x5", 1),
        'level 2 motif 1: operation "conv5x5" is unknown; choose one of none',
    ),
    "an operation that is a number": (TEXT.replace('"conv1x1"', "2", 1), "operation 2 is unknown"),
    "an operation that is null": (TEXT.replace('"conv1x1"', "null", 1), "operation null is unknown"),
    "a motif of its own level": (TEXT.replace("conv1x1", "motif1", 1), 'operation "motif1" is unknown'),
    "a motif that is not there": (TEXT.replace("motif5", "motif7", 1), 'level 3 motif 1: operation "motif7" is unknown'),
    "a primitive in the cell": (
        TEXT.replace("motif5", "identity", 1),
        'operation "identity" is unknown; choose one of none, motif1',
    ),
    "a row too long: a cycle": (
        _with_levels(lambda levels: levels[0][0][0].append("identity")),
        "level 2 motif 1: the row of node 2 has 2 operations; it needs 1",
    ),
    "a row too short": (_with_levels(lambda levels: levels[1][0][2].pop()), "the row of node 4 has 2 operations; it needs 3"),
    "nested too deeply": ("[" * 100_000, "nests brackets more than 5 deep"),
    "nested too deeply and closed": ("[" * 100_000 + "]" * 100_000, "nests brackets more than 5 deep"),
    "objects nested too deeply": ('{"a":' * 100_000, "nests brackets more than 5 deep"),
    "too large": (" " * (MAX_BYTES + 1), "too large"),
    "a long name": (TEXT.replace("conv1x1", "x" * 5000, 1), '"xxxxxxxxxxxxxxx'),
    "not a number": (TEXT.replace('"version":1', '"version":NaN'), "version NaN is unknown"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_refused_with_one_sentence(case):
    """That names the value and stays short; nothing else is ever raised."""
    text, expected = BAD[case]
    with pytest.raises(GenotypeError) as caught:
        genotype_from_json(text)
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 400_000, '"' + '\\"' * 400_000 + "\\", '"' * 800_001, "\\" * 800_000, '{"' * 400_000]
)
def test_a_megabyte_of_nonsense_is_answered_in_linear_time(text):
    """Strings that never end, backslashes, quotes: a second of CPU at most."""
    start = time.process_time()
    with pytest.raises(GenotypeError):
        genotype_from_json(text)
    assert time.process_time() - start < 1.0


def test_a_megabyte_of_keys_is_answered_in_linear_time():
    """With one of them twice."""
    text = "{" + ",".join(f'"{key}":0' for key in [*range(90_000), 89_999]) + "}"
    start = time.process_time()
    with pytest.raises(GenotypeError, match='"89999" more than once'):
        genotype_from_json(text)
    assert time.process_time() - start < 1.0


def test_a_small_file_cannot_describe_a_huge_network():
    """Levels multiply: eight of them with three edges between six nodes would be millions of operations."""
    level = [[["motif1"], ["motif1", "motif1"], ["motif1", "motif1", "motif1"]]]
    first = json.loads(json.dumps(level).replace("motif1", "identity"))
    text = _with(space="hierarchical", levels=[first, *[level] * 7])
    with pytest.raises(GenotypeError, match="1679616 primitive operations; at most 100000"):
        genotype_from_json(text)


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["format", "levels", "version"]), inner),
    ).map(json.dumps)
)
def test_no_text_raises_anything_else(text):
    """Whatever comes in."""
    with pytest.raises(GenotypeError):
        genotype_from_json(text)


def test_a_file_is_read(tmp_path):
    """With a byte order mark too, which editors on Windows write."""
    path = tmp_path / "genotype.json"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert read_genotype(path) == PUBLISHED


def test_a_file_of_a_gigabyte_is_refused_at_once(tmp_path):
    """By its size, before anything is read."""
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    start = time.process_time()
    with pytest.raises(GenotypeError, match="has 1073741824 bytes; a genotype file has at most 1048576"):
        read_genotype(path)
    assert time.process_time() - start < 0.1


def test_files_that_are_none_are_refused(tmp_path):
    """Missing, a folder, a pipe (which would block), not UTF-8, a name that cannot be one; each named."""
    pipe, binary, broken = tmp_path / "pipe", tmp_path / "binary", tmp_path / "broken.json"
    os.mkfifo(pipe)
    binary.write_bytes(b'{"format": "\xff"}')
    broken.write_text(TEXT.replace("conv1x1", "conv9x9"))
    for path, expected in (
        (tmp_path / "missing", "No such file"),
        (tmp_path, "is no file"),
        (pipe, "is no file"),
        (binary, "not UTF-8 text"),
        (broken, "conv9x9"),
        (tmp_path / "a\0b", "cannot read"),
    ):
        with pytest.raises(GenotypeError, match=expected) as caught:
            read_genotype(path)
        assert path.name.replace("\0", "\\x00") in str(caught.value)


def test_every_genotype_of_a_search_space_can_be_written_and_read():
    """The limits of files are those of spaces."""
    for space in (HIERARCHICAL, FLAT, SearchSpace("flat", (1,), (64,)), SearchSpace("hierarchical", (64, 1), (2, 64))):
        assert genotype_from_json(genotype_to_json(identity_chain(space))) == identity_chain(space)
