"""High-water mark: the newest serial ever seen, kept beside a store that could be copied back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from reconciler.errors import StateError
from reconciler.files import replace_private
from reconciler.values import canonical, loads

_LIMIT = 4096


class Mark(NamedTuple):
    """A serial of a lineage, and the digest of the chain up to it."""

    lineage: str
    serial: int
    digest: bytes


def beside(path: Path) -> Path:
    """Return where the mark of the store at `path` is kept."""
    return path.with_name(f"{path.name}.high-water")


def read_mark(path: Path) -> Mark | None:
    """Return the mark of the store at `path`, None if it has none.

    Raises StateError for a mark that cannot be read: it may be hiding that the store is older.
    """
    place = beside(path)
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(place, error.strerror or "it cannot be opened") from error
    with open(descriptor, "rb") as file:
        try:
            shape = loads(file.read(_LIMIT))
            if not isinstance(shape, dict):
                raise ValueError("it is no JSON object")
            return Mark(str(shape["lineage"]), int(shape["serial"]), bytes.fromhex(shape["digest"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(place, f"its content is not a mark: {error}") from error


def write_mark(path: Path, mark: Mark) -> None:
    """Replace the mark of the store at `path`: it is there whole or not at all, mode 0600.

    Raises OSError; the former mark is then still in place.
    """
    place = beside(path)
    body = canonical({"digest": mark.digest.hex(), "lineage": mark.lineage, "serial": mark.serial})
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        replace_private(folder, place.name, [body, b"\n"])
    finally:
        os.close(folder)


def sync_folder(folder: Path) -> None:
    """Make renames and new files in the folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unreadable(place: Path, why: str) -> Exception:
    return StateError.of(
        "state-mark-unreadable",
        f"{place}: the high-water mark of the state cannot be read",
        detail=f"{why[:1].upper()}{why[1:]}.",
        hint=f"Make it readable again; or, sure that the state beside it is the newest, "
        f"delete {place}.",
    )
