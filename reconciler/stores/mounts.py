"""Mounts: which file systems are another machine's, where no lock of a file can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_NETWORK: Final = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "smb2",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "gpfs",
        "beegfs",
        "ncpfs",
        "davfs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.davfs",
        "fuse.s3fs",
        "fuse.rclone",
        "fuse.ceph",
        "fuse.gcsfuse",
        "fuse.blobfuse2",
    )
)


def network_file_system(path: Path, mounts: str) -> str:
    """Return the type of the network file system that holds `path`, empty for a local one.

    `mounts` is text in the form of /proc/mounts.
    """
    found, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].encode().decode("unicode_escape")
        if path.is_relative_to(point) and len(point) >= len(found):
            found, kind = point, fields[2]
    return kind if kind in _NETWORK else ""
