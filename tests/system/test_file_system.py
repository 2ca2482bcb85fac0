"""The file system of a path, as the kernel's table of mounts names it."""

from pathlib import Path

import pytest

from hpcnas.system import file_system

MOUNTS = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:21 / /home rw,relatime shared:1 - nfs4 server:/home rw
31 30 0:22 / /home/me/fast rw - xfs /dev/nvme0 rw
32 27 0:23 / /scratch rw - lustre mds@tcp:/scratch rw,localflock
33 27 0:24 / /two\\040words rw - fuse.sshfs me@host:/ rw
34 27 0:25 / /scratch rw - ext4 /dev/vdb rw
not a mount at all
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/x", "ext4"),
        ("/home/me/run", "nfs4"),
        ("/home/me/fast/run", "xfs"),
        ("/homes/run", "ext4"),
        ("/scratch/run", "ext4"),  # the later mount hides the earlier one
        ("/two words/run", "fuse.sshfs"),
    ],
)
def test_the_nearest_mount_says_the_file_system(path: str, kind: str) -> None:
    assert file_system.file_system(Path(path), MOUNTS) == kind


def test_unknown_file_systems_are_taken_for_network_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not file_system.is_network(tmp_path) or file_system.file_system(tmp_path) not in file_system.LOCAL_FILE_SYSTEMS
    for kind in ("nfs4", "lustre", "gpfs", "beegfs", "cifs", "ceph", "fuse.sshfs", "9p", ""):
        monkeypatch.setattr(file_system, "file_system", lambda path, kind=kind: kind)
        assert file_system.is_network(tmp_path)
