"""How operations look: distinct by colour, also for the colour-blind, by line without colour, and by code."""

from itertools import combinations

import pytest

from hpcnas.report.drawing.styles import DEAD, MOTIF, operation_styles
from hpcnas.representation.primitives import PRIMITIVES

OWN = ("5x5", "dilated3x3", "dilated5x5", "squeeze")
STYLES = operation_styles((*PRIMITIVES, *OWN))

# Linear RGB as a normal eye and as a deuteranope and a protanope see it (Machado, Oliveira and Fernandes 2009, severity 1).
EYES = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deuteranope": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "protanope": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
}


def lab(colour: str, eye) -> tuple[float, float, float]:
    """CIE L*a*b* of a colour #rrggbb as the eye sees it."""
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    r, g, b = (min(1, max(0, sum(m * x for m, x in zip(row, linear, strict=True)))) for row in eye)
    x, y, z = (
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116
        for t in (
            (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
            0.2126 * r + 0.7152 * g + 0.0722 * b,
            (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
        )
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("eye", EYES.values(), ids=EYES)
def test_ten_colours_and_the_motifs_ink_are_apart_for_every_eye(eye):
    """By 15 of CIE 1976, where 2.3 is just seen."""
    colours = [lab(style.colour, eye) for style in (*STYLES.values(), MOTIF)]
    assert len(colours) == 11
    for one, other in combinations(colours, 2):
        assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) > 15**2
    white = lab("#ffffff", eye)
    assert all(sum((a - b) ** 2 for a, b in zip(colour, white, strict=True)) > 25**2 for colour in colours)


def test_ten_lines_are_apart_without_colour():
    """By dashes, or by a width that differs by half; in DOT by style or width."""
    looks = [*STYLES.values(), DEAD]
    for one, other in combinations(looks, 2):
        assert one.dashes != other.dashes or max(one.width, other.width) >= 1.5 * min(one.width, other.width)
    assert len({(style.dot_style, style.dot_width) for style in looks}) == len(looks)


def test_codes_are_short_and_no_two_alike():
    """Also those that are made of names that begin alike."""
    codes = [style.code for style in STYLES.values()]
    assert len(set(codes)) == len(codes)
    assert max(map(len, codes)) <= 4
    assert [STYLES[name].code for name in OWN] == ["5x5", "dila", "di2", "sque"]


def test_a_known_primitive_looks_the_same_in_every_company():
    """By name, not by its place."""
    for name in PRIMITIVES:
        assert operation_styles([name, "another"])[name] == STYLES[name]


def test_with_more_than_four_of_ones_own_the_colours_begin_anew():
    """Their codes still differ."""
    styles = operation_styles(f"own{number}" for number in range(7))
    assert styles["own0"].colour == styles["own4"].colour
    assert len({style.code for style in styles.values()}) == 7
