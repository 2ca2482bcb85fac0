"""The site builds without a warning, asks no network for anything, and has every command, key and public name."""

import html
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w
import typer

import hpcnas
from hpcnas.cli import build_app
from hpcnas.config import RunConfig
from tests.processes import ROOT, wait_until
from tests.report.chromium import Browser, browser

__all__ = ["browser"]  # a fixture

pytestmark = pytest.mark.xdist_group("chromium")
FETCHED = re.compile(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(https?:[^"]+)"|<link\b[^>]*\bhref="(https?:[^"]+)"')
# Keys that neither an option of the head nor a comment in hpcnas/config.py explains; none may be added.
WITHOUT_OPTION = {"learning_rate", "momentum", "weight_decay", "lease_s", "heartbeat_s", "stall_s"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # as in the Makefile
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a test import the modules by which mkdocs makes the reference."""
    monkeypatch.syspath_prepend(ROOT / "docs/reference")


def text_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_page_of_the_repository_is_on_the_site(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    named = {page.with_name("index.html") if page.stem == "README" else page for page in pages}
    assert {str(page) for page in named if not (site / page).is_file()} == set()
    assert all((site / f"{name}.html").is_file() for name in ("index", "contributing", "changelog", "security"))


def test_the_reference_has_every_command_and_option(site: Path) -> None:
    text = text_of(site / "reference/commands.html")

    def check(command: object, name: str) -> None:
        for child, inner in getattr(command, "commands", {}).items():
            check(inner, f"{name} {child}")
        if not hasattr(command, "commands"):
            section = text.partition(f"\n{name} [" if f"\n{name} [" in text else f"{name} ")[2]
            assert section, name
            for param in command.params:
                assert param.hidden or param.opts[0] in section or not param.opts[0].startswith("-"), f"{name} {param.opts}"

    check(typer.main.get_command(build_app()), "hpcnas")


def test_the_reference_has_every_key_of_the_configuration_with_its_meaning(site: Path) -> None:
    page = (site / "reference/configuration.html").read_text(encoding="utf-8")
    rows = {re.sub("<[^>]+>", "", key): meaning for key, _, meaning in re.findall(r"<tr>\s*" + r"<td>(.*?)</td>\s*" * 3, page)}
    keys = {key for section in RunConfig().to_dict().values() if isinstance(section, dict) for key in section}
    assert keys == set(rows)
    assert {key for key, meaning in rows.items() if not meaning.strip()} <= WITHOUT_OPTION


def test_the_reference_has_every_public_name(site: Path) -> None:
    text = text_of(site / "reference/api.html")
    assert all(name in text for name in hpcnas.__all__ if not name.startswith("__"))
    assert "A genotype from a file, from JSON text, or by name." in text
    assert "c0, the width of the first cell" in text  # of build_network


def test_what_a_function_returns_is_one_entry_of_the_reference(site: Path) -> None:
    page = (site / "reference/api.html").read_text(encoding="utf-8")
    (rows,) = [table for table in re.findall(r"<table>.*?</table>", page, re.DOTALL) if "mutation, attempts" in table]
    assert rows.count("<tr") == 2  # with the heading


def test_the_page_of_the_reference_links_to_the_pages_that_are_made(site: Path) -> None:
    article = (site / "reference/index.html").read_text(encoding="utf-8").partition("<article")[2].partition("</article")[0]
    assert {"commands.html", "configuration.html", "api.html"} <= set(re.findall(r'href="([\w.]+)"', article))


def test_no_page_shows_an_escape_of_markdown(site: Path) -> None:
    """Such as a backslash before | in the code of a table, which a forge needs and hides."""
    assert [page.name for page in site.rglob("*.html") if re.search(r"\\[|\[\]*]", text_of(page))] == []
    assert "auto|slurm|local|debug" in text_of(site / "reference/commands.html")
    assert "o_{G[i][j]}(x_j)" in text_of(site / "paper.html")


def test_no_page_fetches_anything_from_a_network(site: Path) -> None:
    fetched = {page.name: FETCHED.findall(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    assert len(fetched) > 20
    assert {name: found for name, found in fetched.items() if found} == {}


def test_a_reader_without_a_server_finds_what_a_lease_is(site: Path, browser: Browser) -> None:
    """The search of a page that is opened as a file: it runs in a frame, and asks no network."""
    browser.open(site / "index.html")
    browser.log("performance")
    browser.open(site / "glossary.html")
    browser.run("document.querySelector('[data-md-toggle=search]').click()")
    browser.type("input.md-search__input", "lease")
    titles = "return [...document.querySelectorAll('.md-search-result__item h1')].map(title => title.textContent)"
    wait_until(lambda: "Glossary" in browser.run(titles))
    assert [address for address in browser.requests() if address.startswith("http")] == []
    assert browser.log("browser") == []


@pytest.mark.parametrize(
    ("line", "page", "shown"),
    [
        ("[a](docs/design.md#1-the-house)", "index.md", "[a](design.md#1-the-house)"),
        ("[a](../CONTRIBUTING.md)", "quickstart.md", "[a](contributing.md)"),
        ("[a](../design.md)", "reference/README.md", "[a](../design.md)"),
        ("[`x.py`](../hpcnas/x.py), [LICENSE](LICENSE)", "reliability.md", "`x.py`, [LICENSE](LICENSE)"),
        ("see [LICENSE](LICENSE)", "index.md", "see LICENSE"),
        ("[![a](docs/images/a.svg)](docs/design.md)", "index.md", "[![a](images/a.svg)](design.md)"),
        ("on the site the page Python API", "quickstart.md", "on the site the page [Python API](reference/api.md)"),
        ('<img src="docs/images/a.svg">', "index.md", '<img src="images/a.svg">'),
        ("[a](https://arxiv.org/abs/1711.00436) [b](#cite)", "index.md", "[a](https://arxiv.org/abs/1711.00436) [b](#cite)"),
    ],
)
@pytest.mark.usefixtures("reference")
def test_links_of_a_forge_become_links_of_the_site(line: str, page: str, shown: str) -> None:
    from hooks import with_site_links

    assert with_site_links(line, page) == shown


@pytest.mark.usefixtures("reference")
def test_examples_in_docstrings_become_code() -> None:
    from doctests import fenced

    assert fenced("Add.\n\n>>> 1 + 1\n2\n>>> x = 1\n\nMore.") == "Add.\n\n```pycon\n>>> 1 + 1\n2\n>>> x = 1\n```\n\nMore."


@pytest.mark.usefixtures("reference")
def test_defaults_are_shown_as_the_file_has_them() -> None:
    from pages import configuration_page

    shown = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", configuration_page(), re.MULTILINE))
    assert tomllib.loads(f"x = {shown['milestones']}") == tomllib.loads(tomli_w.dumps({"x": RunConfig().recipe.milestones}))
    assert shown["fitness"] == '"train"'
    assert shown["steps"] == "7000"
