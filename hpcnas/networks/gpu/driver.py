"""Triton's link to the card's driver: a C module, which Triton compiles and loads at first use."""

import subprocess

from triton.runtime import driver

from hpcnas.networks.gpu.kernel_cache import use_folder


def reason_against_driver() -> str:
    """Load the link; why that fails, or "". The module is kept beside the kernels."""
    use_folder()
    try:
        driver.active.get_current_target()
    except (AssertionError, ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        return f"Triton cannot reach the GPU's driver: {(str(error) or repr(error)).splitlines()[0]}"
    return ""
