"""Knows on which file systems SQLite's locks do not hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")

_SHARED_TYPES: Final = frozenset(
    (
        "9p afs beegfs ceph cifs davfs glusterfs gpfs lustre ncpfs nfs nfs4 orangefs"
        " smb2 smb3 smbfs vboxsf vmhgfs fuse.ceph fuse.davfs2 fuse.gcsfuse fuse.glusterfs"
        " fuse.juicefs fuse.mfs fuse.rclone fuse.s3fs fuse.sshfs fuse.vmhgfs-fuse"
    ).split()
)
"""Types that several machines may have mounted at once, or that ignore file locks. A database in
WAL mode also needs memory that its processes share, which no two machines do."""


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a file system is mounted, and its type."""

    point: str
    type: str


def unsafe_mount(folder: Path, mounts: Path = MOUNTS) -> Mount | None:
    """Return the mount of ``folder`` where SQLite's locks do not hold on it, else ``None``.

    Args:
        folder: An existing directory.
        mounts: The system's list of mounts; where it cannot be read, nothing is known to be unsafe.
    """
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return None
    path = os.path.realpath(folder)
    known = [mount for line in lines if (mount := _mount(line)) and _holds(mount.point, path)]
    # Of two mounts on one point the later one is seen, so the list is gone through from its end.
    found = max(reversed(known), key=lambda mount: len(mount.point), default=None)
    return found if found is not None and found.type in _SHARED_TYPES else None


def _mount(line: str) -> Mount | None:
    before, separator, after = line.partition(" - ")
    fields, kinds = before.split(" "), after.split(" ")
    if not separator or len(fields) < 5:
        return None
    point = fields[4].replace(r"\040", " ").replace(r"\011", "\t").replace(r"\134", "\\")
    return Mount(point, kinds[0])


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
