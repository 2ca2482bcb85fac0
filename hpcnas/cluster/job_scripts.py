"""The batch scripts of jobs/, for those who installed the package and have no checkout."""

from importlib.resources import files
from pathlib import Path

from hpcnas.errors import UsageError


def copy_job_scripts(target: Path) -> list[Path]:
    """Copy every script of jobs/ into `target`, which is made if need be.

    Raises:
        UsageError: one of them is there already, and nothing was copied; or the folder cannot be written.
    """
    scripts = sorted((entry for entry in files("hpcnas.jobs").iterdir() if entry.name.endswith(".sh")), key=lambda e: e.name)
    there = [script.name for script in scripts if (target / script.name).exists()]
    if there:
        raise UsageError(
            f"{target} has {', '.join(there)} already; nothing was copied: give another folder with --out, or move them"
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        return [_copy(script.read_bytes(), target / script.name) for script in scripts]
    except OSError as error:
        raise UsageError(f"cannot write to {target}: {error.strerror}; give another folder with --out") from error


def _copy(text: bytes, path: Path) -> Path:
    with path.open("xb") as file:
        file.write(text)
    path.chmod(0o755 if text.startswith(b"#!") else 0o644)
    return path
