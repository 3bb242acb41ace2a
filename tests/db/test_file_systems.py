from __future__ import annotations

from pathlib import Path

import pytest
from metasched_db import location, open_sql
from metasched_db.file_systems import Mount, unsafe_mount

from metasched.errors import DatabaseError

MOUNTS = r"""
22 1 252:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:38 / /home rw - nfs4 server:/home rw,vers=4.2
41 40 0:39 / /home/me/my\040disk rw - xfs /dev/vdb rw
42 22 0:40 / /cloud rw - fuse.sshfs host:/ rw
43 22 0:41 / /twice rw - cifs //host/a rw
44 22 0:42 / /twice rw - ext4 /dev/vdc rw
a line that is none
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("folder", "mount"),
    [
        ("/home/you", Mount("/home", "nfs4")),
        ("/cloud", Mount("/cloud", "fuse.sshfs")),
        ("/home/me/my disk/x", None),
        ("/homework", None),
        ("/twice/x", None),
        ("/", None),
    ],
)
def test_the_mount_of_a_folder_decides(mounts: Path, folder: str, mount: Mount | None) -> None:
    assert unsafe_mount(Path(folder), mounts) == mount


def test_a_link_is_followed(tmp_path: Path, mounts: Path) -> None:
    (tmp_path / "link").symlink_to("/cloud")
    assert unsafe_mount(tmp_path / "link", mounts) == Mount("/cloud", "fuse.sshfs")


def test_without_a_list_nothing_is_refused(tmp_path: Path) -> None:
    assert unsafe_mount(tmp_path, tmp_path / "absent") is None


def test_a_database_there_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_nfs(_: Path) -> Mount:
        return Mount("/mnt", "nfs")

    monkeypatch.setattr(location, "unsafe_mount", on_nfs)
    with pytest.raises(DatabaseError, match=r"lie on nfs \(mounted at /mnt\).*or share a Postgre"):
        open_sql(f"sqlite:///{tmp_path}/tuning.db")
    assert not (tmp_path / "tuning.db").exists()
