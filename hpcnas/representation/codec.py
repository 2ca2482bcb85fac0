"""The genotype file: JSON text to genotype and back (docs/design.md, section 5).

    {"format": "hpcnas-genotype", "version": 1, "space": "hierarchical", "levels": [[motif, ...], ...]}

Between "space" and "levels" stands "primitives", a list of names, if they are not the paper's. A motif is a list of
rows; row i (for node i = 2..n) names the operations of the edges from nodes 1..i-1. The text may come from anywhere, so
everything about it is checked before it is believed.
"""

import json
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Any

from hpcnas.errors import GenotypeError
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.primitives import MAX_PRIMITIVES, NONE, PRIMITIVES, check_names
from hpcnas.representation.space import MAX_LEVELS, MAX_MOTIFS, MAX_NODES, MAX_OPERATIONS

FORMAT = "hpcnas-genotype"
VERSION = 1
MAX_BYTES = 1 << 20
_KEYS = ("format", "version", "space", "levels")
_OWN = "primitives"
_DEPTH = 5  # object, levels, level, motif, row
# A string that never ends goes to the end of the text, so that the search stays linear in whatever comes.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\(?:.|\Z))*+(?:"|\Z)|[\[\]{}]', re.DOTALL)
_ROW_LINES = re.compile(r'(?<=\[)\s+"[^\[\]]*"\s+(?=\])')  # what stands inside a row: kept on one line


def genotype_to_json(genotype: Genotype, indent: int | None = None) -> str:
    """The genotype as text of the file format, on one line unless `indent` spaces are asked for."""
    names = [
        _names(genotype.pool_size(level)) if level > 2 else (NONE, *genotype.primitives)
        for level in range(2, len(genotype.levels) + 2)
    ]
    levels = [
        [[[pool[k] for k in row] for row in motif.rows] for motif in motifs]
        for pool, motifs in zip(names, genotype.levels, strict=True)
    ]
    own = {} if genotype.primitives == PRIMITIVES else {"primitives": genotype.primitives}
    values = {"format": FORMAT, "version": VERSION, "space": genotype.space, **own, "levels": levels}
    text = json.dumps(values, indent=indent, separators=(",", ":") if indent is None else None)
    return text if indent is None else _ROW_LINES.sub(lambda row: re.sub(r"\s+", " ", row[0].strip()), text)


def genotype_from_json(text: str) -> Genotype:
    """The genotype that the text describes.

    Raises:
        GenotypeError: the text is too long or nested too deeply, no JSON, of another format or
            version, or describes no genotype; the message is one sentence.
    """
    if len(text) > MAX_BYTES:
        raise GenotypeError(f"a genotype of {len(text)} characters is too large; at most {MAX_BYTES} are read")
    _check_depth(text)
    try:
        values = json.loads(text, object_pairs_hook=_object)
    except GenotypeError:
        raise
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or an integer of more digits than Python reads
        raise GenotypeError(f"the genotype is not valid JSON: {error}") from error
    return _genotype(values)


def read_genotype(path: Path) -> Genotype:
    """The genotype in a file. The file's size is asked before anything is read.

    Raises:
        GenotypeError: the file cannot be read, is no regular file, larger than 1 MiB, not UTF-8 or holds no genotype.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise GenotypeError(f"{path} is no file; give the path of a genotype file")
        if about.st_size > MAX_BYTES:
            raise GenotypeError(f"{path} has {about.st_size} bytes; a genotype file has at most {MAX_BYTES}")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # the file may have grown since
        text = data.decode("utf-8-sig")  # editors on Windows write a byte order mark
    except OSError as error:
        raise GenotypeError(f"cannot read the genotype file {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise GenotypeError(f"{path} is not UTF-8 text (byte {error.start}); a genotype file is JSON in UTF-8") from error
    except ValueError as error:  # a NUL in the path
        raise GenotypeError(f"cannot read the genotype file {str(path)!r}: {error}") from error
    try:
        return genotype_from_json(text)
    except GenotypeError as error:
        raise GenotypeError(f"{path}: {error}") from error


def _check_depth(text: str) -> None:
    # Before json.loads: it would descend into 100,000 brackets until the interpreter's stack ends.
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        first = token[0][0]
        depth += (first in "[{") - (first in "]}")
        if depth > _DEPTH:
            raise GenotypeError(
                f"the genotype nests brackets more than {_DEPTH} deep; levels are lists of motifs, motifs lists of rows"
            )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise GenotypeError(f"the genotype gives {_shown(twice)} more than once")
    return values


def _genotype(values: Any) -> Genotype:
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        given = _shown(values.get("format")) if isinstance(values, dict) and "format" in values else "missing"
        raise GenotypeError(f'this is no genotype: its "format" is {given}, it must be "{FORMAT}"')
    version = values.get("version")
    if type(version) is not int or version != VERSION:
        raise GenotypeError(f"genotype version {_shown(version)} is unknown; this hpcnas reads version {VERSION}")
    for key in (*_KEYS, *(key for key in values if key != _OWN)):
        if (key in values) != (key in _KEYS):
            problem = "lacks" if key in _KEYS else "has the unknown key"
            raise GenotypeError(f"the genotype {problem} {_shown(key)}; its keys are {', '.join(_KEYS)}, {_OWN}")
    levels = _list(values["levels"], '"levels"', MAX_LEVELS)
    space = "flat" if len(levels) == 1 else "hierarchical"
    if values["space"] != space:
        raise GenotypeError(
            f'"space" is {_shown(values["space"])}; a genotype of {len(levels)} levels above the primitives is "{space}"'
        )
    primitives = _primitives(values[_OWN]) if _OWN in values else PRIMITIVES
    return _checked_size(Genotype(_levels(levels, primitives), primitives))


def _primitives(given: Any) -> tuple[str, ...]:
    names = tuple(_list(given, f'"{_OWN}"', MAX_PRIMITIVES))
    check_names(names)
    return names


def _levels(levels: list[Any], primitives: tuple[str, ...]) -> tuple[tuple[Motif, ...], ...]:
    pool = {name: k for k, name in enumerate((NONE, *primitives))}
    motifs: list[tuple[Motif, ...]] = []
    for level, given in enumerate(levels, start=2):
        entries = _list(given, f"level {level}", MAX_MOTIFS)
        motifs.append(tuple(_motif(entry, f"level {level} motif {m}", pool) for m, entry in enumerate(entries, start=1)))
        pool = {name: k for k, name in enumerate(_names(len(entries)))}
    return tuple(motifs)


def _motif(given: Any, where: str, pool: dict[str, int]) -> Motif:
    rows = []
    for index, row in enumerate(_list(given, where, MAX_NODES - 1)):
        names = _list(row, f"{where} row {index + 1}", MAX_NODES - 1)
        if len(names) != index + 1:
            raise GenotypeError(
                f"{where}: the row of node {index + 2} has {len(names)} operations; it needs {index + 1}, one for each "
                "node before it (other edges would close a cycle)"
            )
        for name in names:
            if not isinstance(name, str) or name not in pool:
                raise GenotypeError(f"{where}: operation {_shown(name)} is unknown; choose one of {', '.join(pool)}")
        rows.append(tuple(pool[name] for name in names))
    return Motif(tuple(rows))


def _list(value: Any, name: str, limit: int) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= limit:
        given = f"a list of {len(value)}" if isinstance(value, list) else _shown(value)
        raise GenotypeError(f"{name} is {given}; it must be a list of 1 to {limit} entries")
    return value


def _checked_size(genotype: Genotype) -> Genotype:
    sizes = [1] * len(genotype.primitives)
    for motifs in genotype.levels:
        sizes = [sum(sizes[k - 1] for _, _, k in motif.edges()) for motif in motifs]
    if sizes[0] > MAX_OPERATIONS:
        raise GenotypeError(f"the cell would have {sizes[0]} primitive operations; at most {MAX_OPERATIONS} are allowed")
    return genotype


def _names(motifs: int) -> tuple[str, ...]:
    return (NONE, *(f"motif{m}" for m in range(1, motifs + 1)))


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
