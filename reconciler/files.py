"""Files: writing one whole or not at all, and private; reading only what is a plain file."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from reconciler.errors import ConfigError

OWN: Final = ".reconciler"
"""The folder of a workspace that holds what the program keeps, state among it."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FRESH: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK, so that a FIFO laid in the way is not waited for.
_LEFT: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_regular(path: Path, largest: int) -> bytes:
    """Return what a file holds, if it is a regular one of at most `largest` bytes and no link.

    Raises OSError, whose text is for a person.
    """
    try:
        handle = os.open(path, _LEFT)
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "It is a symbolic link") from None
        raise
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "It is no regular file")
        if about.st_size > largest:
            raise OSError(errno.EFBIG, f"It is larger than {largest >> 20} MiB")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(largest + 1)
    finally:
        os.close(handle)


def write_private(path: Path, pieces: Iterable[bytes], *, mode: int = 0o600) -> None:
    """Write a file with mode 0600, whole or not at all; durable on return.

    Another `mode` is for what others shall read and holds nothing private. Raises ConfigError if
    it cannot be written; what stood there before then still stands.
    """
    try:
        folder = os.open(path.parent, _FOLDER)
        try:
            _refuse_special(folder, path.name)
            replace_private(folder, path.name, pieces, mode=mode)
        finally:
            os.close(folder)
    except OSError as problem:
        raise ConfigError.of(
            "unwritable", f"{path} cannot be written", detail=f"{problem.strerror}."
        ) from None


def rewrite(path: Path, before: bytes | None, pieces: Iterable[bytes]) -> None:
    """Put other content in the place of a file of the user, whole or not at all.

    `before` is what the file held when the new content was made of it, None where there was none:
    where it holds something else by now, somebody else's work would be lost. Mode and owner stay; a
    new file is made as any other. A link is not followed. Raises ConfigError, and then nothing was
    changed.
    """
    try:
        folder = os.open(path.parent, _FOLDER)
        try:
            mode, owner = _about(folder, path.name)
            replace_private(
                folder,
                path.name,
                _unmoved(folder, path.name, before, pieces),
                mode=mode,
                owner=owner,
            )
        finally:
            os.close(folder)
    except OSError as problem:
        raise ConfigError.of(
            "unwritable", f"{path.name} cannot be written", detail=f"{problem.strerror}."
        ) from None


def _about(folder: int, name: str) -> tuple[int, tuple[int, int] | None]:
    """Return mode and owner that a file shall have. Raises OSError for what is no regular file."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        mask = os.umask(0o077)
        os.umask(mask)
        return 0o666 & ~mask, None
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EEXIST, "It is no regular file")
    return stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)


def _unmoved(
    folder: int, name: str, before: bytes | None, pieces: Iterable[bytes]
) -> Iterator[bytes]:
    """Yield the pieces, and fail at the last moment if the file is not what it was.

    Other writers of ours wait for the temporary file, so between them nothing is lost.
    """
    yield from pieces
    try:
        handle = os.open(name, _LEFT, dir_fd=folder)
    except FileNotFoundError:
        now = None
    else:
        with os.fdopen(handle, "rb") as file:
            now = file.read()
    if now != before:
        raise ConfigError.of(
            "changed-meanwhile",
            f"{name} was changed by somebody else meanwhile, so it was left as it is",
            hint="run it again",
        )


def private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter, with those above it that are missing.

    A folder that is there stays as it is, but for the program's own, which a checkout makes as
    open as any. Raises OSError.
    """
    for place in reversed([path, *path.parents]):
        if not place.exists():
            place.mkdir(mode=0o700, exist_ok=True)
        elif place.name == OWN and not place.is_symlink() and place.stat().st_uid == os.geteuid():
            place.chmod(0o700)  # where it is a link, the folder behind it is somebody's choice


def replace_private(
    folder: int,
    name: str,
    pieces: Iterable[bytes],
    *,
    mode: int = 0o600,
    owner: tuple[int, int] | None = None,
) -> None:
    """Write a file of an open folder with mode 0600 by way of a temporary one beside it.

    A symbolic link of that name is replaced, not followed. What a killed run left half written
    is cleared away by the next writer of the same file. `owner` is kept where that is allowed.
    Raises OSError.
    """
    temporary = f".{name}.tmp"
    with os.fdopen(_begun(folder, temporary), "wb") as file:
        try:
            file.writelines(pieces)
            file.flush()
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                with suppress(PermissionError):
                    os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            # An interrupt may come when it has its name already, and is what the user must hear.
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise
    os.fsync(folder)


def may_replace(folder: int, name: str) -> None:
    """Make sure that `replace_private` could write a file now. Raises OSError."""
    temporary = f".{name}.tmp"
    made = _begun(folder, temporary)
    os.unlink(temporary, dir_fd=folder)
    os.close(made)


def _refuse_special(folder: int, name: str) -> None:
    """Raise OSError for a link or a device, which a rename would put a plain file in place of."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EEXIST, "It is no regular file")


def _begun(folder: int, temporary: str) -> int:
    """Return a new file that nobody else writes: whoever holds its lock owns the name."""
    while True:
        try:
            made = os.open(temporary, _FRESH, 0o600, dir_fd=folder)
        except FileExistsError:
            _clear(folder, temporary)
            continue
        try:
            fcntl.flock(made, fcntl.LOCK_EX)
            os.fchmod(made, 0o600)
            # Another writer may have taken it for a leftover before it was locked.
            if os.fstat(made).st_nlink:
                return made
        except BaseException:
            os.close(made)
            raise
        os.close(made)


def _clear(folder: int, temporary: str) -> None:
    """Wait for whoever writes the temporary file; remove it if that one is gone."""
    try:
        left = os.open(temporary, _LEFT, dir_fd=folder)
    except FileNotFoundError:
        return
    except OSError:
        os.unlink(temporary, dir_fd=folder)  # a link or a socket: no writer of ours made it
        return
    try:
        fcntl.flock(left, fcntl.LOCK_EX)
        found = os.stat(temporary, dir_fd=folder, follow_symlinks=False)
        if os.path.samestat(found, os.fstat(left)):
            os.unlink(temporary, dir_fd=folder)
    except FileNotFoundError:
        return
    finally:
        os.close(left)
