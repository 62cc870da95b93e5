from __future__ import annotations

import pytest

from ingestion.sources.mounts import unseen_changes

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /home rw - btrfs /dev/vdb rw
31 22 0:41 / /mnt/my\\040share rw - cifs //server/share rw
32 22 0:42 / /mnt/nfs rw - nfs4 server:/x rw
33 22 0:43 / /home/me/cloud rw - fuse.rclone cloud: rw
34 22 0:44 / /media/stick rw - fuseblk /dev/sdb1 rw
35 22 0:45 / /mnt/over rw - nfs server:/y rw
36 22 0:46 / /mnt/over rw - tmpfs tmpfs rw
not a line of this format
"""


@pytest.mark.parametrize(
    ("root", "kind"),
    [
        ("/srv/notes", None),
        ("/home/you/notes", None),
        ("/mnt/my share/notes", "cifs"),
        ("/mnt/nfs", "nfs4"),
        ("/mnt/nfsx", None),
        ("/home/me/cloud/deep", "fuse.rclone"),
        ("/home/me", "fuse.rclone"),
        ("/", "cifs"),
        ("/media/stick/notes", None),
        ("/mnt/over/notes", None),
    ],
)
def test_the_file_system_that_holds_it_decides(root: str, kind: str | None) -> None:
    reason = unseen_changes(root, MOUNTS)
    assert (reason is None) if kind is None else (reason is not None and f"a {kind} file system" in reason)


def test_this_machine_can_be_asked() -> None:
    assert unseen_changes("/definitely/not/there") is None or "file system" in str(unseen_changes("/"))
