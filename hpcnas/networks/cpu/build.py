"""Compiles the C++ kernels when they are first needed, keeps them in a cache, and does without where that fails."""

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from hpcnas.system import home
from hpcnas.system.flock import CannotLock, acquire_lock
from hpcnas.system.home import expand_home

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent
# Not -ffast-math: it assumes that there are no NaNs, and by those a diverged training is found.
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-pthread", "-fno-math-errno", "-fno-trapping-math")
COMPILE_TIMEOUT_S = 300


def cache_folder() -> Path:
    """The folder of compiled kernels: $HPCNAS_KERNELS, else ~/.cache/hpcnas/kernels, or a temporary folder without a home."""
    named = os.environ.get("HPCNAS_KERNELS")
    return expand_home(named, "name a folder by $HPCNAS_KERNELS") if named else home.cache_folder("kernels")


@functools.cache
def load_library() -> ctypes.CDLL | None:
    """The kernels for this CPU, compiled if need be; None, with one log line, where there is no way to.

    $HPCNAS_NATIVE=0 switches them off.
    """
    if os.environ.get("HPCNAS_NATIVE") == "0":
        return None
    compiler = shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        log.warning("no C++ compiler found: networks train without the compiled kernels, several times slower on a CPU")
        return None
    try:
        library = ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("the compiled kernels cannot be used (%s): networks train several times slower on a CPU", _reason(error))
        return None
    library.hpcnas_start_threads.restype = ctypes.c_void_p
    library.hpcnas_start_threads.argtypes = [ctypes.c_int]
    library.hpcnas_run.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def _compiled(compiler: str) -> Path:
    # A home folder is shared by machines with different CPUs, and -march=native code of one may not run on another.
    path = cache_folder() / f"kernels-{_key(compiler)}.so"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(path):
        if not path.exists():
            _compile(compiler, path)
    return path


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    try:
        held = acquire_lock(f"{path}.lock")
    except CannotLock as error:
        # Nothing breaks without: each compiles beside and renames into place.
        log.warning("%s cannot lock files (%s): every process compiles the kernels for itself", path.parent, error.strerror)
        yield
        return
    with held:
        yield


def _compile(compiler: str, path: Path) -> None:
    # Not mkstemp, whose file is private: a lab may share the folder.
    beside = str(path.with_name(f"{uuid.uuid4().hex}.so"))
    native = "-mcpu=native" if platform.machine() == "aarch64" else "-march=native"
    command = [compiler, *FLAGS, native, str(SOURCES / "engine.cpp"), "-o", beside]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)
        os.replace(beside, path)
    finally:
        Path(beside).unlink(missing_ok=True)


def _key(compiler: str) -> str:
    # All that changes the machine code is in the name, so a library is never stale.
    digest = hashlib.sha256("\0".join((compiler, platform.machine(), _cpu_flags(), *FLAGS)).encode())
    for source in sorted([*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h")]):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _cpu_flags() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in (error.stderr or "").splitlines() if "error" in line]
        return lines[0] if lines else f"the compiler failed with {error.returncode}"
    return str(error)
