"""Opening a run: what a head says of itself before it searches."""

import pytest

from hpcnas.config import RunConfig
from hpcnas.errors import UsageError
from hpcnas.population.address import read_address
from hpcnas.run_folder import RunFolder
from hpcnas.search.opening import open_run


def test_a_named_address_is_the_first_that_workers_try(folder: RunFolder, config: RunConfig) -> None:
    with open_run(folder, config, address="127.0.0.1"):
        assert read_address(folder).hosts_elsewhere()[0] == "127.0.0.1"


def test_an_address_of_another_machine_is_refused_before_anything_is_made(
    tmp_path_factory: pytest.TempPathFactory, config: RunConfig
) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("place") / "run")
    with (
        pytest.raises(UsageError, match=r"--address 203\.0\.113\.9 is no address of this machine"),
        open_run(folder, config, address="203.0.113.9"),
    ):
        raise AssertionError
    assert not folder.path.exists()
