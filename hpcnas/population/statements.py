"""Named queries: sql/<dialect>/queries.sql, read once per process.

A query starts with a line `-- name: what it is for` and ends with a semicolon at a line's end.
"""

import re
from functools import cache
from importlib.resources import files

_HEADING = re.compile(r"^-- ([a-z_]+): \S.*$")


@cache
def read_sql(dialect: str, file: str) -> str:
    """The text of sql/<dialect>/<file>."""
    return files("hpcnas.sql").joinpath(dialect, file).read_text(encoding="utf-8")


@cache
def load_statements(dialect: str) -> dict[str, str]:
    """All named queries of a dialect, name -> statement without its semicolon.

    Raises:
        ValueError: a name stands twice, or a statement has no name.
    """
    statements: dict[str, str] = {}
    name, lines = "", list[str]()
    for line in read_sql(dialect, "queries.sql").splitlines():
        heading = _HEADING.match(line)
        if heading:
            name = heading.group(1)
        elif line.strip() and not line.startswith("--"):
            lines.append(line)
            if line.rstrip().endswith(";"):
                if not name or name in statements:
                    problem = f"{name} stands twice" if name else "a statement without a name"
                    raise ValueError(f"{dialect}/queries.sql: {problem}, at {line!r}")
                statements[name] = "\n".join(lines).rstrip().removesuffix(";")
                name, lines = "", []
    return statements
