"""Append: entries of accounts into a file as a whole, or onto a sheet that is no file yet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Final

from reconciler.accounts import Account, split
from reconciler.config.alone import alone, bench
from reconciler.config.files import LARGEST, Found, Unreadable, opened, would_find
from reconciler.config.judge import Judge
from reconciler.config.nodes import Close, Item, Open, parts
from reconciler.diagnostics import Diagnostic, Source, error, has_errors
from reconciler.edit.choose import YAML
from reconciler.edit.entries import Entry
from reconciler.edit.layout import ACCOUNTS, STEP, Layout
from reconciler.edit.splice import behind, line_end
from reconciler.errors import ConfigError
from reconciler.files import rewrite
from reconciler.workspace import Workspace

IN_MEMORY: Final = 8 << 20
"""Bytes of entries that are held in memory; more are kept in a file that has no name."""

_PIECE: Final = 1 << 20


class Sheet:
    """Entries for a person to put into a file: lines, one entry after the other.

    `bench` judges them; `provider` is said once where it is that of all, but not of the workspace.
    """

    known = False
    """Whether the next plan reads what is added here."""

    def __init__(self, judge: Judge, provider: str, put: Callable[[str], None]) -> None:
        self.bench = judge.within("", {"provider": provider} if provider else {})
        self.ids: set[str] = set()
        self.count = 0
        self._provider, self._put = provider, put
        self._layout = Layout()

    def add(self, entry: Entry) -> None:
        """Put the lines of an entry, before the first of them the keys that they stand beneath."""
        if not self.count:
            for line in _opening(self._layout, self._provider):
                self._put(line)
        self.count += 1
        for line in self._layout.entry(entry.key, entry.raw):
            self._put(line)

    def finish(self) -> None:
        """Do nothing: the lines are out."""

    def close(self) -> None:
        """Do nothing: nothing was kept."""


class Appendix:
    """Entries that a file gets, or is made of, once all of them are there.

    `bench` judges them; `ids` are those that the file has; `provider` is said once in a new file
    where it is that of all, but not of the workspace. Raises ConfigError if nothing can be added.
    """

    def __init__(
        self, workspace: Workspace, name: str, judge: Callable[[], Judge], provider: str
    ) -> None:
        self.name, self._judge = name, judge
        self._root = Path(workspace.root)
        self.path = self._place()
        found = would_find(workspace, name)
        self.known = found is not None
        self._found = found or Found(name, ())
        self._layout = Layout()
        self._before = self._read()
        start = self._before
        if start is None:
            start = _text([*_opening(self._layout, provider)[:-1], f"{ACCOUNTS}: {{}}"])
        findings: list[Diagnostic] = []
        self.bench, accounts = bench(judge(), self._found, BytesIO(start), findings)
        if findings:
            raise ConfigError(findings)
        if wrong := {"profile", "configuration"} & self.bench.defaults.keys():
            raise self._refused(
                f"The defaults of the file hold {' and '.join(sorted(wrong))}, which would then be "
                "those of the imported accounts, too.",
                "write them into another file",
            )
        self.ids = {split(account.address)[1] for account in accounts}
        self._old, self._new = _Told(accounts), _Told(())
        self._head, self._tail, self._column = self._cut(start)
        self._lines: IO[bytes] = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (see `close`)

    @property
    def count(self) -> int:
        """How many entries were added."""
        return self._new.count

    def add(self, entry: Entry) -> None:
        """Add an entry."""
        assert entry.account is not None
        self._lines.write(_text(self._layout.entry(entry.key, entry.raw, self._column)))
        self._new.add(entry.account)

    def finish(self) -> None:
        """Put the file in its place. Raises ConfigError, and then what stood there still stands.

        What it will hold is read first as a plan reads it: the accounts that it had, and then
        those that were added, each as it was recorded.
        """
        if not self.count:
            return
        with SpooledTemporaryFile(IN_MEMORY) as whole:
            for piece in self._pieces():
                whole.write(piece)
            if whole.tell() > LARGEST:
                raise self._refused(
                    f"The file would have {whole.tell():,} bytes; {LARGEST:,} is the most.",
                    "import in parts, each with a file of its own; nothing is read twice",
                )
            whole.seek(0)
            self._prove(whole)
        if self.path.parent.is_relative_to(self._root):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        rewrite(self.path, self._before, self._pieces())

    def close(self) -> None:
        """Throw away what was not put into the file."""
        self._lines.close()

    def _place(self) -> Path:
        path = self._root / self.name
        if not self.name.endswith(YAML):
            raise self._refused("Only YAML is written.", f"end its name in {' or '.join(YAML)}")
        target = path.resolve()
        if path.is_symlink() and not target.is_relative_to(self._root):
            raise self._refused("The link leaves the workspace.", "name the file itself")
        if not target.parent.is_dir() and not target.is_relative_to(self._root):
            raise self._refused("Its folder is not there.", "make it, or write into the workspace")
        return target

    def _read(self) -> bytes | None:
        if not self.path.exists():
            return None
        try:
            with opened(self.path, self.name) as stream:
                return stream.read()
        except Unreadable as wrong:
            raise ConfigError(wrong.finding) from None

    def _cut(self, data: bytes) -> tuple[str, str, int]:
        """Return what stands before and behind the new entries, and their column."""
        text = data.decode()
        last: Item | None = None
        opening: Item | None = None
        inside, end = False, 0
        for part in parts(data, text, self.name):
            if isinstance(part, Open):
                opening, inside = part.item, True
            elif inside and isinstance(part, Close):
                inside, end = False, part.end
            elif inside and isinstance(part, Item):
                last = part
        if opening is None:
            return f"{_ended(text)}{ACCOUNTS}:\n", "", STEP
        value = opening.value
        if last is None:
            stop = line_end(text, end)
            head = text[: value.start].rstrip(" \t") + text[end:stop]
            return _ended(head), text[stop:], STEP
        if value.flow:
            line = text.count("\n", 0, value.start) + 1
            raise ConfigError.of(
                "in-brackets",
                "The accounts of the file stand within brackets.",
                hint=f"lay it out first: reconciler fmt {self.name}",
                source=Source(self.name, line),
            )
        assert last.key is not None
        column = last.key.start - (text.rfind("\n", 0, last.key.start) + 1)
        at = behind(text, last, column)
        return _ended(text[:at]), text[at:], column

    def _pieces(self) -> Iterator[bytes]:
        yield self._head.encode()
        self._lines.seek(0)
        while piece := self._lines.read(_PIECE):
            yield piece
        yield self._tail.encode()

    def _prove(self, whole: IO[bytes]) -> None:
        findings: list[Diagnostic] = []
        old, new = _Told(()), _Told(())
        for account in alone(self._judge(), self._found, whole, findings):  # type: ignore[arg-type]
            (old if old.count < self._old.count else new).add(account)
        if has_errors(findings) or (old.seal, new.seal) != (self._old.seal, self._new.seal):
            raise self._refused(
                "The file would not say what was recorded, so it was left.",
                "this is a bug in reconciler: please report it with the file",
            )

    def _refused(self, summary: str, hint: str) -> ConfigError:
        finding = error("unwritable", summary, hint=hint, source=Source(self.name))
        return ConfigError(finding)


class _Told:
    """A row of accounts by one digest, so that a million of them need not be held."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self.count = 0
        self._digest = hashlib.sha256()
        for account in accounts:
            self.add(account)

    def add(self, account: Account) -> None:
        """Take one more."""
        self.count += 1
        self._digest.update(f"{account.address}\n".encode())
        self._digest.update(account.digest)

    @property
    def seal(self) -> tuple[int, bytes]:
        """What two rows of the same accounts have in common."""
        return self.count, self._digest.digest()


def _opening(layout: Layout, provider: str) -> list[str]:
    """Return the lines before the first account."""
    defaults = layout.top("defaults", {"provider": provider}) if provider else []
    return [*defaults, f"{ACCOUNTS}:"]


def _text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
