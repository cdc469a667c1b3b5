"""Secrets: references become values here, and generated tokens leave here."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from reconciler.diagnostics import error
from reconciler.errors import SecretError
from reconciler.files import may_replace, replace_private
from reconciler.redaction import SHORTEST, Redactor
from reconciler.values import Reference, loads

if TYPE_CHECKING:
    from reconciler.workspace import SecretSettings

_LARGEST: Final = 64 * 1024
_PATIENCE: Final = 30.0
_MOUNT: Final = Path("/run/secrets")
_KERNEL: Final = frozenset({"proc", "dev", "sys"})
# Controls, and the surrogates that stand for bytes of the environment that are no UTF-8.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK, so that a FIFO laid in the way is refused instead of waited for.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def mint() -> str:
    """Return a new login token: 32 URL-safe characters holding 192 random bits."""
    return secrets.token_urlsafe(24)


def fingerprint(key: str, *parts: str) -> str:
    """Return the keyed fingerprint of some texts: HMAC-SHA-256, its first 32 hex characters.

    Every part goes in with its length, so that moving a border between parts shows.
    """
    message = bytearray()
    for part in parts:
        data = part.encode()
        message += len(data).to_bytes(8, "big") + data
    return hmac.digest(key.encode(), bytes(message), "sha256").hex()[:32]


class Resolver:
    """Turns references into values, each once, and remembers them for the redactor.

    `root` is the workspace's folder: `file:` reaches nothing outside of it but /run/secrets.
    `reserved` are the references that provider credentials use; account files may not. Safe to
    share between threads. Every failure is a SecretError that names the reference, never a value.
    """

    def __init__(
        self,
        root: Path,
        settings: SecretSettings,
        *,
        environ: Mapping[str, str],
        run: Callable[..., Any] | None = None,
        reserved: Collection[Reference] = (),
        redactor: Redactor | None = None,
    ) -> None:
        self.redactor = redactor or Redactor()
        self._root = Path(os.path.realpath(root))
        self._settings = settings
        self._environ = environ
        self._run = run
        self._reserved = {self._plain(ref) for ref in reserved}
        if settings.fingerprint_key:
            self._reserved.add(self._plain(settings.fingerprint_key))
        self._lock = threading.Lock()
        self._own = {name for name in environ if self._is_own(f"env:{name}")}
        for name in self._own:
            if len(environ[name]) >= SHORTEST:
                # Before anything resolves it: a defect may tell of the whole environment.
                self.redactor.add(environ[name])
        self._known: dict[Reference, str] = {}
        self._delivered: set[Reference] = set()

    def __repr__(self) -> str:
        return "Resolver(…)"

    def resolve(self, ref: Reference) -> str:
        """Return the value of a reference that stands in `reconciler.yaml`."""
        with self._lock:
            if (value := self._known.get(ref)) is None:
                value = self._read(ref)
                self.redactor.add(value)
                self._known[ref] = _clean(ref, value)
            return value

    def resolve_for_account(self, ref: Reference) -> str:
        """Return the value of a reference from an account file, if it is allowed there.

        A sink that took a generated token in this run gives it back.
        """
        if ref not in self._delivered:
            if ref.scheme == "cmd":
                raise _refusal(
                    ref, "is a command, which account files may not name", "use env: or file:"
                )
            self._allow(ref)
        return self.resolve(ref)

    def expect(self, ref: Reference) -> None:
        """Make sure, as far as one can before there is a token, that a sink will take one.

        A file's folder is written to for a moment; a command is not run.
        """
        self._allow(ref)
        match ref.scheme:
            case "file":
                self._store(ref, None)
            case "cmd":
                _command(ref)
            case _:
                raise _no_sink(ref)

    def deliver(self, ref: Reference, value: str) -> None:
        """Hand a generated token to its sink, durably: a file of mode 0600, or stdin of a command.

        The sink must be allowed by `secrets.allow`, as everything that an account file names.
        """
        self._allow(ref)
        self.redactor.add(value)
        match ref.scheme:
            case "file":
                self._store(ref, value)
            case "cmd":
                self._execute(ref, value)
            case _:
                raise _no_sink(ref)
        with self._lock:
            self._known[ref] = value
            self._delivered.add(ref)

    def _allow(self, ref: Reference) -> None:
        text = self._plain(ref)
        if text in self._reserved:
            raise _refusal(
                ref,
                "belongs to a provider's credentials",
                "keep the tokens of accounts apart from them",
            )
        if not any(
            pattern in (text, ref.text) or fnmatchcase(text, pattern)
            for pattern in self._settings.allow
        ):
            raise _refusal(
                ref, "is not allowed in account files", "add it to secrets.allow in reconciler.yaml"
            )

    def _plain(self, ref: Reference) -> str:
        """Return the one spelling of a reference: paths beneath the root are relative to it."""
        if ref.scheme != "file":
            return ref.text
        path = PurePosixPath(ref.target)
        return f"file:{path.relative_to(self._root) if path.is_relative_to(self._root) else path}"

    def _read(self, ref: Reference) -> str:
        match ref.scheme:
            case "env":
                value = self._environ.get(ref.target, "")
                if not value:
                    raise _refusal(
                        ref, "is not set or empty", f"set the environment variable {ref.target}"
                    )
                return value
            case "file":
                return _text(ref, self._load(ref))
            case "cmd":
                return _text(ref, self._execute(ref, None))
            case _:
                raise _refusal(ref, "is no secret reference", "write env:, file: or cmd:")

    def _load(self, ref: Reference) -> bytes:
        base, parts = self._place(ref)
        with _folder(ref, base, parts[:-1], create=False) as folder:
            try:
                fd = os.open(parts[-1], _READ, dir_fd=folder)
            except OSError as failure:
                raise _unusable(ref, failure) from None
            try:
                _inspect(ref, os.fstat(fd), shared=base == _MOUNT)
                with os.fdopen(fd, "rb", closefd=False) as file:
                    return file.read(_LARGEST + 1)
            except OSError as failure:
                raise _unusable(ref, failure) from None
            finally:
                os.close(fd)

    def _store(self, ref: Reference, value: str | None) -> None:
        """Replace the file of a sink; without a value, only try whether that could be done."""
        base, parts = self._place(ref)
        if base == _MOUNT:
            raise _refusal(ref, "is outside of the workspace", "name a file beneath it")
        with _folder(ref, base, parts[:-1], create=True) as folder:
            try:
                if value is None:
                    may_replace(folder, parts[-1])
                else:
                    replace_private(folder, parts[-1], [value.encode()])
            except OSError as failure:
                raise _unusable(ref, failure) from None

    def _place(self, ref: Reference) -> tuple[Path, tuple[str, ...]]:
        """Return the folder that a file must be beneath, and the way from there."""
        path = PurePosixPath(ref.target)
        whole = self._root / path
        base = _MOUNT if path.is_absolute() and path.is_relative_to(_MOUNT) else self._root
        kernel = _KERNEL.intersection(whole.parts[1:2]).difference(self._root.parts[1:2])
        if kernel or ".." in path.parts or not whole.is_relative_to(base):
            raise _refusal(ref, "is outside of the workspace", "name a file beneath it")
        if not (parts := whole.relative_to(base).parts) or "\0" in ref.target:
            raise _refusal(ref, "names no file", "name a file beneath the workspace")
        return base, parts

    def _is_own(self, text: str) -> bool:
        """Tell whether a reference is one of the workspace's, as far as its settings say.

        An entry of `secrets.allow` so wide as to match PATH tells no secret from the rest.
        """
        return text in self._reserved or any(
            fnmatchcase(text, one) and not fnmatchcase("env:PATH", one)
            for one in self._settings.allow
        )

    def _execute(self, ref: Reference, given: str | None) -> bytes:
        """Run the command of a reference without a shell and return what it wrote to stdout."""
        argv = _command(ref)
        # Loading it takes longer than a plan without commands should wait.
        from subprocess import DEVNULL, PIPE, SubprocessError, run

        feed: dict[str, Any] = {"stdin": DEVNULL, "stdout": PIPE}
        if given is not None:
            feed = {"input": given.encode(), "stdout": DEVNULL}
        try:
            ended = (self._run or run)(
                argv,
                **feed,
                stderr=DEVNULL,
                timeout=_PATIENCE,
                check=False,
                cwd=self._root,
                # Its own login is in there; our secrets are none of its business.
                env={k: v for k, v in self._environ.items() if k not in self._own},
            )
        except SubprocessError:
            raise _refusal(ref, f"did not end within {_PATIENCE:.0f} s", "run it by hand") from None
        except (OSError, ValueError) as failure:
            raise _unusable(ref, failure) from None
        if ended.returncode:
            raise _refusal(ref, f"ended with exit code {ended.returncode}", "run it by hand")
        return ended.stdout or b""


@contextmanager
def _folder(ref: Reference, base: Path, parts: tuple[str, ...], *, create: bool) -> Iterator[int]:
    """Open a folder step by step, so that no symbolic link beneath `base` is ever followed."""
    try:
        fd = os.open(base, _DIRECTORY)
    except OSError as failure:
        raise _unusable(ref, failure) from None
    try:
        for part in parts:
            try:
                if create:
                    _make(part, fd)
                inner = os.open(part, _DIRECTORY, dir_fd=fd)
            except OSError as failure:
                raise _unusable(ref, failure) from None
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def _make(name: str, folder: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
        os.fsync(folder)
    except FileExistsError:
        return


def _command(ref: Reference) -> list[str]:
    """Return program and arguments of a `cmd:` reference."""
    try:
        argv = loads(ref.target)
    except ValueError:
        argv = None
    if not (isinstance(argv, list) and argv and all(isinstance(a, str) and a for a in argv)):
        raise _refusal(ref, "is no command", 'write cmd:["program","argument"]')
    return argv


def _no_sink(ref: Reference) -> SecretError:
    return _refusal(ref, "cannot take a token", "use a file: or cmd: sink")


def _inspect(ref: Reference, about: os.stat_result, *, shared: bool) -> None:
    """Refuse what is no private file. `shared`: a container's own mount, readable as it comes."""
    if not stat.S_ISREG(about.st_mode):
        raise _refusal(ref, "is no regular file", "name a regular file")
    if about.st_uid not in (os.geteuid(), 0):
        raise _refusal(ref, "belongs to another user", "make it your own: chown")
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _refusal(ref, "can be changed by others", f"chmod 600 {ref.target}")
    if about.st_mode & stat.S_IROTH and not shared:
        raise _refusal(ref, "can be read by everyone", f"chmod 600 {ref.target}")


def _text(ref: Reference, data: bytes) -> str:
    """Return what a file or a command holds as text, without one line end behind it."""
    if len(data) > _LARGEST:
        raise _refusal(ref, "is larger than 64 KiB", "name something that holds only the secret")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _refusal(ref, "is no UTF-8 text", "encode it as text") from None
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _clean(ref: Reference, value: str) -> str:
    if not value:
        raise _refusal(ref, "is empty", "put the secret there")
    if _UNFIT.search(value):
        raise _refusal(
            ref, "holds control characters or no text", "keep the secret on one line, alone"
        )
    return value


def _refusal(ref: Reference, what: str, hint: str) -> SecretError:
    return SecretError(error("secret-reference", f"The secret {ref} {what}.", hint=f"{hint}."))


def _unusable(ref: Reference, failure: Exception) -> SecretError:
    """Return the finding for a system error, which is told by its own words and never by more."""
    reason = failure.strerror if isinstance(failure, OSError) else None
    return _refusal(
        ref,
        f"cannot be used: {reason or type(failure).__name__}",
        "check that it exists, is no symbolic link, and is yours",
    )
