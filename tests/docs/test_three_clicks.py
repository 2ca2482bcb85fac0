"""A reader finds what is asked first within three clicks from README, which is the first page of the site."""

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([\w./-]*?\.md)?(#[\w-]+)?\)")
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
CLICKS = 3

# A question, and words of its answer: a section counts as found when a link leads to it and these are in it.
ANSWERS = {
    "how to start 200 workers": "python -m hpcnas.head --workers 200 --partition gpu",
    "what a lease is": "| lease | The right to train one genotype.",
    "how to read Table 1": "A row is one search. The last column, `source`, is `published` for the paper's rows",
    "where to change the mutation": "`draw_mutation` in `hpcnas/evolution/mutation.py`",
}


class Place(NamedTuple):
    """Where a link leads: a page, and one of its sections ("" for the page itself)."""

    page: Path
    anchor: str


START = Place(ROOT / "README.md", "")


def anchor_of(heading: str) -> str:
    """As a forge and the site make it."""
    return re.sub(r"[^\w -]", "", heading.replace("`", "").lower()).replace(" ", "-")


def content(place: Place) -> str:
    """The text of a page, or of its section with the subsections."""
    text = place.page.read_text(encoding="utf-8")
    if not place.anchor:
        return text
    headings = list(HEADING.finditer(FENCED.sub(lambda fence: re.sub(r"[^\n]", " ", fence[0]), text)))
    for number, heading in enumerate(headings):
        if anchor_of(heading[2]) == place.anchor:
            ends = [later.start() for later in headings[number + 1 :] if len(later[1]) <= len(heading[1])]
            return text[heading.start() : min(ends, default=len(text))]
    raise LookupError(f"{place.page.name} has no section #{place.anchor}")


def links(place: Place) -> Iterator[Place]:
    """Where the links of a place lead, to pages of the repository."""
    for file, anchor in LINK.findall(content(place)):
        if file or anchor:
            yield Place((place.page.parent / file).resolve() if file else place.page, anchor.removeprefix("#"))


def clicks_to(answer: str) -> int | None:
    """The fewest clicks from README to a place that a link names and that has these words; None if there is none."""
    far, waiting = {START: 0}, deque([START])
    while waiting:
        place = waiting.popleft()
        if place != START and answer in content(place):
            return far[place]
        for there in links(place):
            if there not in far:
                far[there] = far[place] + 1
                waiting.append(there)
    return None


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_is_three_clicks_away_at_most(question: str) -> None:
    clicks = clicks_to(ANSWERS[question])
    assert clicks is not None
    assert 1 <= clicks <= CLICKS


def test_words_that_no_page_has_are_not_found() -> None:
    assert clicks_to("the phase of the moon decides every tournament") is None


def test_every_link_between_pages_leads_to_a_section() -> None:
    """The walk visits all pages that README leads to, and raises at a link to a section that is not there."""
    far, waiting = {START}, [START]
    while waiting:
        found = {there for there in links(waiting.pop()) if there not in far}
        assert [there.page for there in found if not there.page.is_file()] == []
        far |= found
        waiting += found
    assert len({place.page for place in far}) > 12
