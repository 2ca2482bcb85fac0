"""A configuration as a TOML file: run.toml, and what `--config` names. The only reader and writer."""

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from hpcnas.config import RunConfig
from hpcnas.errors import UsageError

MAX_CONFIG_BYTES = 1 << 20


def read_config(path: Path) -> dict[str, Any]:
    """The sections of a TOML file, unchecked but for its size and syntax.

    Raises:
        UsageError: the file is missing, larger than 1 MiB or no TOML.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UsageError(f"{path} is larger than {MAX_CONFIG_BYTES} bytes; that is no hpcnas configuration")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error


def config_toml(config: RunConfig) -> str:
    """The configuration as TOML text that reads back as the same configuration; None is left out.

    Raises:
        UsageError: it would not read back, or not be read for its size; nothing may be replaced by such a text.
    """
    values = config.to_dict()
    outside = {name: values.pop(name) for name in ("store", "note")}
    sections = {name: {key: value for key, value in entries.items() if value is not None} for name, entries in values.items()}
    text = tomli_w.dumps(outside | sections)
    if len(text.encode()) > MAX_CONFIG_BYTES:
        raise UsageError(
            f"the configuration takes more than the {MAX_CONFIG_BYTES} bytes that are read of run.toml; "
            "name fewer genotypes by --initial, or give a shorter --note"
        )
    if RunConfig.from_dict(tomllib.loads(text)) != config:
        raise UsageError("the configuration cannot be kept in run.toml: it reads back as another one")
    return text
