"""Objects in a folder: files that are replaced whole, under a lock, where their tag fits."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reconciler.errors import StateError
from reconciler.files import private_folder, read_regular, replace_private
from reconciler.stores.object_place import Changed

_LARGEST: Final = 1 << 30
_GATE: Final = ".gate"


class FolderObjects:
    """Implements `Objects` in the folder, which need not exist yet.

    A tag is the digest of the bytes. Reading sees whole files, as they are renamed into place;
    writing is compare and swap under flock on one file of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Return an object and its tag, None if there is none."""
        with self._told():
            try:
                data = read_regular(self._folder / name, _LARGEST)
            except FileNotFoundError:
                return None
            return data, hashlib.sha256(data).hexdigest()

    def tag(self, name: str) -> str:
        """Return the tag of an object, empty if there is none."""
        found = self.get(name)
        return found[1] if found else ""

    def put(self, name: str, data: bytes, tag: str) -> str:
        """Replace the object with this tag, or make one that is not there."""
        with self._told():
            private_folder((self._folder / name).parent)
            with self._gate():
                if self.tag(name) != tag:
                    raise Changed
                place = self._folder / name
                folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    replace_private(folder, place.name, [data])
                finally:
                    os.close(folder)
        return hashlib.sha256(data).hexdigest()

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects beneath a prefix, sorted."""
        with self._told():
            try:
                found = os.listdir(self._folder / prefix)
            except FileNotFoundError:
                return []
            return sorted(f"{prefix}{name}" for name in found if not name.startswith("."))

    def drop(self, names: Iterable[str]) -> None:
        """Remove objects; one that is not there is fine."""
        with self._told(), self._gate():
            for name in names:
                (self._folder / name).unlink(missing_ok=True)

    def skew(self) -> float:
        """Return 0: the clock is this machine's."""
        return 0.0

    def close(self) -> None:
        """Do nothing: no file stays open."""

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """Keep other writers out, on this machine and on those that share its file system."""
        descriptor = os.open(
            self._folder / _GATE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            if self._folder.exists() and self._folder.stat().st_mode & stat.S_IWOTH:
                raise StateError.of(
                    "state-writable",
                    f"{self._folder}: everybody may write this folder of the state",
                    hint=f"Check who changed it, then run `chmod 700 {self._folder}`.",
                )
            yield
        except OSError as error:
            raise StateError.of(
                "state-io",
                f"{self._folder}: the state cannot be used: {error.strerror or error}",
                hint="Nothing that was acknowledged is lost; repair the cause and run again.",
            ) from error
