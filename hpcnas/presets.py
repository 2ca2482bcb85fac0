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
    # Minutes on a laptop: shows that everything works, says little about architectures. Random genotypes are nearly chains of
    # identities, so that the search has far to climb. Two trainings of a genotype differ by 3 %: a smaller rise is chance.
    "smoke": {
        "space": {"nodes": [3, 3]},
        "search": {"steps": 100, "population": 5, "tournament": 0.25, "duplicates": "reuse", "initial_mutations": 2},
        "recipe": {"dataset": "digits", "train_steps": 250, "batch": 16, "repeats": 2, "channels": 8, "crop": 32},
        "cluster": {"workers": 2, "cpus_per_worker": 1},
    },
}
