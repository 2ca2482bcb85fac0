"""Sizes to begin with (`--preset`): what each lays over the paper's configuration. None says where workers run."""

from typing import Any, Literal

Preset = Literal["paper", "quick", "smoke"]  # as a type, so that the command line shows and checks the same names

PRESETS: dict[str, dict[str, Any]] = {
    # It trains every network that its search breeds, the equal ones too; the others do not (--duplicates).
    "paper": {},
    # An afternoon on one machine: the paper's method on a tenth of its training.
    "quick": {
        "search": {"steps": 200, "population": 40, "duplicates": "reuse"},
        "recipe": {"train_steps": 500, "repeats": 2},
        "cluster": {"workers": 4},
    },
    # Minutes on a laptop: shows that everything works, says little about architectures. Small cells, few random genotypes and
    # large tournaments, so that there is something to find and it is found.
    "smoke": {
        "space": {"nodes": [3, 3]},
        "search": {"steps": 60, "population": 5, "tournament": 0.25, "duplicates": "reuse"},
        "recipe": {"dataset": "digits", "train_steps": 200, "batch": 16, "repeats": 2, "channels": 8, "crop": 32},
        "cluster": {"workers": 2, "cpus_per_worker": 1},
    },
}
