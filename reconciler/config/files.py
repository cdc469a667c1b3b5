"""Files: which account files a workspace has, and opening only what is safe to read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from hashlib import sha256
from io import SEEK_SET, FileIO
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from reconciler.config.text import PIECE
from reconciler.diagnostics import Diagnostic, Source, error
from reconciler.workspace import Glob, Workspace

LARGEST: Final = 256 << 20
"""Bytes of the largest file that is read: some 800,000 accounts; memory does not follow it."""

SUFFIXES: Final = (".yaml", ".yml", ".json", ".jsonl", ".csv")
WORKSPACE: Final = "reconciler.yaml"


class Unreadable(Exception):
    """A file cannot or must not be read; holds the finding."""

    def __init__(self, finding: Diagnostic) -> None:
        self.finding = finding
        super().__init__(finding.summary)


class Found(NamedTuple):
    """An account file: its path beneath the workspace, and the globs that match it, in order."""

    file: str
    globs: tuple[Glob, ...]

    @property
    def bans(self) -> bool:
        """Whether the file is a sheet of bans."""
        return any(glob.bans for glob in self.globs)


def leaves(pattern: str) -> bool:
    """Tell whether a glob points out of the workspace."""
    path = PurePosixPath(pattern)
    return path.is_absolute() or ".." in path.parts or "\\" in pattern or "\0" in pattern


def find(workspace: Workspace) -> tuple[list[Found], list[Diagnostic], list[Diagnostic]]:
    """Return the account files by path, findings about them, and findings of empty globs."""
    root = Path(workspace.root)
    real = root.resolve()
    found: dict[str, list[Glob]] = {}
    findings: list[Diagnostic] = []
    empty: list[Diagnostic] = []
    for glob in workspace.accounts:
        matched = False
        for file in sorted(_match(root, glob.pattern)):
            matched = True
            if file not in found and (wrong := _unfit(root, real, file)):
                findings.append(wrong)
            found.setdefault(file, []).append(glob)
        if not matched and glob.needed:
            empty.append(
                error(
                    "empty-glob",
                    f"No account file matches {glob.pattern}.",
                    hint=f"correct the glob, or remove it from {_section(glob)}",
                    source=glob.source or Source(WORKSPACE),
                )
            )
    unfit = {finding.source.file for finding in findings if finding.source}
    files = []
    for one in (Found(file, tuple(found[file])) for file in sorted(found) if file not in unfit):
        if wrong := _unclear(one):
            findings.append(wrong)
        else:
            files.append(one)
    return files, findings, empty


def _unclear(found: Found) -> Diagnostic | None:
    """Return the finding about a sheet that is none, or is read as account file as well."""
    sheets = [glob for glob in found.globs if glob.bans]
    if sheets and len(sheets) < len(found.globs):
        return error(
            "two-readers",
            f"Both accounts and accounts_from match {found.file}.",
            hint="write the globs so that only one of them matches it",
            source=sheets[-1].source,
        )
    if sheets and PurePosixPath(found.file).suffix != ".csv":
        return error(
            "file-kind",
            "A sheet of bans is a .csv file.",
            hint="save the sheet as CSV, or name the file in accounts",
            source=Source(found.file),
        )
    return None


def _section(glob: Glob) -> str:
    return "accounts_from" if glob.bans else "accounts"


def would_find(workspace: Workspace, file: str) -> Found | None:
    """Return how a file of this name would be found, None if no glob matches it."""
    path = PurePosixPath(file)
    globs = tuple(
        glob for glob in workspace.accounts if _matches(path, PurePosixPath(glob.pattern).parts)
    )
    if not globs or file == WORKSPACE or path.suffix not in SUFFIXES:
        return None
    return Found(file, globs)


def _matches(path: PurePosixPath, parts: tuple[str, ...]) -> bool:
    """Tell whether a glob takes a path, the way `Path.glob` does."""
    hidden = any(part.startswith(".") for part in parts)
    if not hidden and any(part.startswith(".") for part in path.parts):
        return False

    def takes(names: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
        if not wanted:
            return not names
        if wanted[0] == "**":
            return any(takes(names[n:], wanted[1:]) for n in range(len(names)))
        return bool(names) and fnmatchcase(names[0], wanted[0]) and takes(names[1:], wanted[1:])

    return takes(path.parts, parts)


def _match(root: Path, pattern: str) -> Iterator[str]:
    """Yield what matches, without folders, hidden parts nobody asked for and the workspace."""
    hidden = any(part.startswith(".") for part in PurePosixPath(pattern).parts)
    for path in root.glob(pattern):
        file = path.relative_to(root)
        if path.is_dir() or file.as_posix() == WORKSPACE:
            continue
        if hidden or not any(part.startswith(".") for part in file.parts):
            yield file.as_posix()


def _unfit(root: Path, real: Path, file: str) -> Diagnostic | None:
    place = Source(file)
    if PurePosixPath(file).suffix not in SUFFIXES:
        return error(
            "file-kind",
            "The file is of no kind that holds accounts.",
            hint=f"use one of {', '.join(SUFFIXES)}",
            source=place,
        )
    try:
        target = (root / file).resolve(strict=True)
    except (OSError, RuntimeError) as wrong:
        reason = getattr(wrong, "strerror", None) or "it points to itself"
        return error(
            "unreadable", f"The file cannot be read: {reason}.", hint="check the link", source=place
        )
    if not target.is_relative_to(real):
        return error(
            "outside",
            "The link leaves the workspace.",
            hint="keep the file beneath the workspace",
            source=place,
        )
    return None


class Content(FileIO):
    """An open file, and the digest of what was read of it."""

    def __init__(self, handle: int) -> None:
        super().__init__(handle, "rb", closefd=False)
        self._sum = sha256()
        self._straight, self._ended = True, False
        self._before: set[bytes] = set()

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, at most so many."""
        data = super().read(size)
        self._sum.update(data)
        self._ended = not data
        return data

    def whole(self) -> bytes:
        """Return all that is left to read."""
        return b"".join(iter(partial(self.read, PIECE), b""))

    def seek(self, place: int, whence: int = SEEK_SET, /) -> int:
        """Read on elsewhere."""
        if (place, whence) == (0, SEEK_SET) and self.digest:
            self._before.add(self.digest)
            self._sum, self._ended = sha256(), False
        else:
            self._straight = False
        return super().seek(place, whence)

    @property
    def digest(self) -> bytes:
        """The digest of all of the file; empty unless it was read from its begin to its end.

        Empty, too, where it was read several times, and not always the same.
        """
        digest = self._sum.digest() if self._straight and self._ended else b""
        return digest if self._before <= {digest} else b""


@contextmanager
def opened(path: Path, file: str, largest: int = LARGEST) -> Iterator[Content]:
    """Open a regular file of at most `largest` bytes. Raises Unreadable."""
    place = Source(file)
    try:
        # Without O_NONBLOCK opening a FIFO would wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as wrong:
        reason = getattr(wrong, "strerror", None) or str(wrong)
        raise Unreadable(
            error(
                "unreadable",
                f"The file cannot be read: {reason}.",
                hint="check the path and its permissions",
                source=place,
            )
        ) from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(
                error(
                    "no-file",
                    "This is no regular file.",
                    hint="put a plain file in its place",
                    source=place,
                )
            )
        if status.st_size > largest:
            raise Unreadable(
                error(
                    "too-big",
                    f"The file has {status.st_size:,} bytes; {largest:,} is the most.",
                    hint="split it into several files",
                    source=place,
                )
            )
        with Content(handle) as content:
            yield content
    finally:
        os.close(handle)
