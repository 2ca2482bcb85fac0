"""The secret of a run: who may read it, what it must be, and that it is nowhere else."""

import pytest

from hpcnas.errors import DamagedRunError, UsageError
from hpcnas.population.protocol.client import ServiceClient
from hpcnas.population.protocol.secret import read_secret
from tests.population.conftest import Rig, offspring_record, worker


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o777])
def test_a_secret_that_others_may_read_is_refused(served: Rig, mode: int) -> None:
    served.folder.secret.chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        ServiceClient(served.folder)


def test_a_secret_that_is_none_is_refused(served: Rig) -> None:
    for content in (b"", b"short", b"z" * 64, b"\xff" * 64):
        served.folder.secret.write_bytes(content)
        with pytest.raises(DamagedRunError):
            read_secret(served.folder)
    served.folder.secret.unlink()
    with pytest.raises(DamagedRunError, match="missing"):
        read_secret(served.folder)
    served.folder.secret.symlink_to("/etc/hostname")
    with pytest.raises(DamagedRunError, match="plain file"):
        read_secret(served.folder)


def test_the_secret_is_nowhere_but_in_its_file(served: Rig, caplog: pytest.LogCaptureFixture) -> None:
    text = served.folder.secret.read_text()
    served.queue.join(worker())
    served.head.add([offspring_record()])
    served.queue.claim("w1", "c1")
    served.stop()
    found = [path.name for path in served.folder.path.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
    assert found == ["secret"]
    assert text not in caplog.text
    served.start()
