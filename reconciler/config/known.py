"""Known: files that were read before, told by their bytes, so that they need no reading.

What is kept of a file is what planning needs while nothing changes: addresses, lines and digests.
It is found by the digest of the bytes that lie there now, under the digest of all that their
meaning depends on, so it is never older than the file. It lies where no checkout can put anything:
a pull request could otherwise bring along what says that nothing has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from reconciler import __version__
from reconciler.accounts import Address, Alike
from reconciler.config.files import Found, Unreadable, opened
from reconciler.config.sheet import Sheet
from reconciler.config.text import PIECE
from reconciler.values import canonical
from reconciler.workspace import Workspace

LEAST: Final = 4096
"""Bytes of the smallest file of which something is kept; a smaller one is read as fast."""

MANY: Final = 10_000
"""Accounts from which on it is worth while not to read a state that is known."""

MOST: Final = 256 << 20
"""Bytes that are kept of all workspaces: of some three million accounts."""

_HEAD: Final = b"reconciler known 1\n"
_CODE: Final = Path(__file__).resolve().parent.parent
_VERSIONED: Final = (".git", ".hg", ".svn", ".jj")
_DAY: Final = 86_400
_UNKNOWN: Final = (OSError, ValueError, KeyError, TypeError)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def place(workspace: Workspace, environ: Mapping[str, str]) -> Path | None:
    """Return the folder of what is known of a workspace, in the user's own cache folder.

    None where there is no such folder, or it may be part of the checkout that the workspace is in.
    """
    cache = environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.join(environ.get("HOME", ""), ".cache")
    if not os.path.isabs(cache):
        return None
    own = Path(os.path.realpath(os.path.join(cache, "reconciler", workspace.name)))
    return own if _apart(own, Path(os.path.realpath(workspace.root))) else None


def _apart(cache: Path, root: Path) -> bool:
    """Tell whether no checkout can hold both folders.

    So it is where nothing but the user's home and the folders above it hold both, and none of
    these is a checkout. Some pipelines keep caches within the checkout; there is none then.
    """
    both = Path(os.path.commonpath([cache, root]))
    try:
        home = Path(os.path.realpath(pwd.getpwuid(os.geteuid()).pw_dir))
    except KeyError:
        home = Path("/")
    return home.is_relative_to(both) and not any(
        (above / name).exists() for above in (both, *both.parents) for name in _VERSIONED
    )


def remove(folder: Path) -> None:
    """Remove what is known of a workspace. Raises OSError."""
    with suppress(FileNotFoundError):
        for file in os.listdir(folder):
            with suppress(FileNotFoundError):
                (folder / file).unlink()


class Known:
    """What is known of the files of a workspace as it is set up, in a folder of its own.

    Nothing here raises for what a disk or another process does: what cannot be had is not known.
    """

    def __init__(self, folder: Path, workspace: Workspace) -> None:
        self._folder = folder
        self._asked: set[str] = set()
        self._fresh = False
        # With a key a token is looked at each time, and that takes its document.
        self._without_tokens = workspace.secrets.fingerprint_key is not None
        self._setting = hashlib.sha256(
            repr((__version__, _code(), replace(workspace, root=""))).encode()
        ).digest()

    def recall(self, root: Path, files: Iterable[Found]) -> tuple[dict[str, bytes], set[str]]:
        """Return the keys of the files that can be read now, and which of these are known.

        A key is of all that decides what a file means: its bytes, its name and all settings.
        """
        keys, known = {}, set()
        for found in files:
            with suppress(Unreadable, OSError):
                with opened(root / found.file, found.file) as content:
                    while content.read(PIECE):
                        pass
                    size = content.tell()
                key = keys[found.file] = self.key(found, content.digest)
                if size < LEAST:
                    continue
                self._asked.add(found.file)
                if self._file(key).exists():
                    known.add(found.file)
        return keys, known

    def alike(self, keys: Collection[bytes], chain: str) -> tuple[Alike, Collection[bytes]] | None:
        """Return what was kept of the state of this digest, and which of these keys are in it."""
        try:
            head, _, then = self._read(_state(chain)).partition(b"\n")
            accounts, until = json.loads(head)
            size = hashlib.sha256().digest_size
            had = {then[at : at + size] for at in range(0, len(then), size)}
            others: dict[Address, bytes] = {}
            for key in had.difference(keys):
                for sheet in self._sheets(key, ""):
                    others.update(sheet.told())
            whole = had == set(keys)
            return Alike(int(accounts), str(until), others, whole), had.intersection(keys)
        except _UNKNOWN:
            return None

    def keep_alike(self, keys: Iterable[bytes], chain: str, accounts: int, until: str) -> None:
        """Keep that what these files say is recorded, and nothing else, in the state so far.

        Not of few accounts: to read and verify what is recorded of them costs next to nothing.
        """
        if accounts < MANY:
            return
        self._write(_state(chain), canonical([accounts, until]) + b"\n" + b"".join(keys))

    def get(self, found: Found, key: bytes) -> Sequence[Sheet] | None:
        """Return what is known of a file, None where that is nothing or cannot be relied on."""
        try:
            return list(self._sheets(key, found.file))
        except _UNKNOWN:
            return None

    def _sheets(self, key: bytes, file: str) -> Iterator[Sheet]:
        """Yield the sheets that are kept under a key. Raises one of `_UNKNOWN`."""
        data = self._read(key)
        at = 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "big")
            yield Sheet(data[at + 8 : at + 8 + size], None, file)
            at += 8 + size

    def keep(self, found: Found, content: bytes, sheets: Iterable[bytes]) -> bytes:
        """Keep the columns of the sheets of a file whose bytes have this digest; return its key."""
        key = self.key(found, content)
        if found.file not in self._asked:
            return key
        body = bytearray()
        for columns in sheets:
            if self._without_tokens and Sheet(columns, None, found.file).tokens:
                return key
            body += len(columns).to_bytes(8, "big") + columns
        self._write(key, body)
        return key

    def _read(self, key: bytes) -> bytes:
        """Return what is kept under a key. Raises OSError or ValueError where that is nothing."""
        with open(os.open(self._file(key), _OLD), "rb") as stream:
            data = _trusted(stream)
        head, rest = len(_HEAD), len(_HEAD) + 32
        if data[:head] != _HEAD or data[head:rest] != hashlib.sha256(data[rest:]).digest():
            raise ValueError
        # Under its own name only: a file that was renamed is of something else.
        if data[rest : rest + 32] != key:
            raise ValueError
        return data[rest + 32 :]

    def _write(self, key: bytes, data: bytes | bytearray) -> None:
        body = key + data
        file = self._file(key)
        fresh = file.with_name(f"{file.name}.{os.getpid()}")
        with suppress(OSError):
            for folder in (self._folder.parent.parent, self._folder.parent, self._folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not all(map(_own, (self._folder, self._folder.parent))):
                return
            with open(os.open(fresh, _NEW, 0o600), "wb") as stream:
                stream.write(_HEAD + hashlib.sha256(body).digest() + body)
            fresh.rename(file)
            self._fresh = True

    def bound(self) -> None:
        """Remove what was not used for longest, beyond the bytes that are kept of all."""
        kept = []
        if not self._fresh:
            return
        with suppress(OSError):
            for file in self._folder.parent.glob("*/*"):
                with suppress(OSError):
                    about = file.lstat()
                    kept.append((about.st_mtime, about.st_size, file))
        size = sum(one[1] for one in kept)
        for _, less, file in sorted(kept):
            if size <= MOST:
                break
            with suppress(OSError):
                file.unlink()
            size -= less

    def key(self, found: Found, content: bytes) -> bytes:
        """Return what a file whose bytes have this digest is known under."""
        return hashlib.sha256(self._setting + content + repr(found).encode()).digest()

    def _file(self, key: bytes) -> Path:
        return self._folder / key.hex()


def _state(chain: str) -> bytes:
    """Return the key of what is known of a state."""
    return hashlib.sha256(b"state " + chain.encode()).digest()


def _trusted(stream: BinaryIO) -> bytes:
    """Return what an open file of our own holds, and note its use. Raises OSError for another's."""
    about = os.fstat(stream.fileno())
    private = stat.S_ISREG(about.st_mode) and not about.st_mode & 0o077
    if not private or about.st_uid != os.geteuid() or about.st_size > MOST:
        raise PermissionError
    if about.st_mtime < time.time() - _DAY:
        os.utime(stream.fileno())
    return stream.read()


def _own(folder: Path) -> bool:
    about = folder.lstat()
    return (
        stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o022
    )


def _code() -> list[tuple[str, int, int]]:
    """Return what tells the code that reads from any other, also in a checkout of it."""
    told = []
    for folder in (_CODE, _CODE / "config", _CODE / "providers"):
        with os.scandir(folder) as files:
            for file in files:
                if file.name.endswith(".py"):
                    about = file.stat()
                    told.append((file.name, about.st_size, about.st_mtime_ns))
    return sorted(told)
