"""Finds the file system of a path, and whether locks and shared memory on it hold."""

from pathlib import Path

# Where SQLite's shared memory and locks hold. Anything else (nfs, lustre, gpfs, beegfs, cifs, ceph, fuse, unknown) is network.
LOCAL_FILE_SYSTEMS = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "tmpfs", "ramfs", "overlay", "bcachefs", "reiserfs"}
)


def file_system(path: Path, mounts: str | None = None) -> str:
    """The type of the file system that holds `path`, as /proc/self/mountinfo names it; "" if unknown.

    Args:
        mounts: text of mountinfo, for tests.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
    best, kind = "", ""
    for line in mounts.splitlines():
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        # A later line on the same point hides the earlier one.
        if path.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, right.split(" ")[0]
    return kind


def is_network(path: Path) -> bool:
    """Whether locks and shared memory on this path cannot be trusted to hold."""
    return file_system(path) not in LOCAL_FILE_SYSTEMS
