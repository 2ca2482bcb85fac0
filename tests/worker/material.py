"""A run of a worker's tests."""

from hpcnas.config import RunConfig


def config_of(fitness: str, steps: int = 6) -> RunConfig:
    return RunConfig.from_dict(
        {
            "search": {"steps": steps, "population": 3},
            "recipe": {"fitness": fitness, "repeats": 2, "channels": 4},
            "cluster": {"workers": 1, "cluster": "local", "lease_s": 20.0, "heartbeat_s": 0.2},
        }
    )
