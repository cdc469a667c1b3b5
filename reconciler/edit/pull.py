"""Pull: recorded drift as edits of the YAML that declares the accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from itertools import zip_longest
from typing import Any, Final, NamedTuple, TypeAlias

from reconciler.accounts import Account, Address, flatten, is_banned, split
from reconciler.config.alone import alone
from reconciler.config.files import Found
from reconciler.config.judge import Judge
from reconciler.config.nodes import Close, Item, Node, Open, parts
from reconciler.diagnostics import Diagnostic, Source, error, has_errors, warning
from reconciler.diff import same
from reconciler.drift import MISSING, Difference, Drifted
from reconciler.edit.choose import YAML
from reconciler.edit.fit import EXTENSION, raw, unfit
from reconciler.edit.splice import Path, Splice, put, spliced
from reconciler.edit.tidy import tidy
from reconciler.state import Record
from reconciler.values import is_erased

BANNED: Final = "banned"


class Wish(NamedTuple):
    """What shall stand in the entry of an account: values by path."""

    address: Address
    values: dict[str, Any]


Wishes: TypeAlias = Mapping[int, Wish]
"""What shall stand in a file, by the line of an account's key."""


@dataclass(slots=True)
class Sorted:
    """Drift by what can be done about it.

    `files` holds what to edit, `left` what cannot be and why, `notes` what is worth a word.
    """

    files: dict[str, dict[int, Wish]] = field(default_factory=dict)
    left: list[Diagnostic] = field(default_factory=list)
    notes: list[Diagnostic] = field(default_factory=list)

    def wish(self, account: Account, path: str, value: Any) -> None:
        """Note a value that shall stand in the entry of an account."""
        entries = self.files.setdefault(account.file, {})
        entries.setdefault(account.line, Wish(account.address, {})).values[path] = value


@dataclass(frozen=True, slots=True)
class Pulled:
    """A file with drift in it: its new text (the old one where nothing could be done)."""

    text: bytes
    accounts: int = 0
    fields: int = 0
    left: tuple[Diagnostic, ...] = ()


class Sorter:
    """Sorts drift out: what the YAML shall say, and what it cannot.

    `desired` are the accounts that drifted, `records` those and their siblings.
    """

    def __init__(
        self,
        desired: Mapping[Address, Account],
        records: Mapping[Address, Record],
        judge: Judge,
        now: datetime,
    ) -> None:
        self.desired, self.records, self.judge, self.now = desired, records, judge, now
        self.found = Sorted()

    def sort(self, drifted: Iterable[Drifted]) -> Sorted:
        """Return what can be done about each difference."""
        for one in drifted:
            account = self.desired.get(one.address)
            if account is None:
                self.found.notes.append(_undeclared(one.address))
            elif one.kind == MISSING:
                self.found.left.append(_missing(account))
            else:
                for change in one.changes:
                    self._change(account, change)
        return self.found

    def _change(self, account: Account, change: Difference) -> None:
        path, value = change.path, change.observed
        document = account.written()
        if path == BANNED:
            wanted: Any = is_banned(document, self.now)
        else:
            if path.partition(".")[0] in account.once:
                return
            wanted = flatten(document).get(path)
        if wanted is None:
            self._leave(account, path, "the YAML does not write it any more")
        elif path == BANNED and wanted == value:
            return
        elif is_erased(value):
            self._leave(account, path, "what the vendor held was erased from the records")
        elif path != BANNED and same(path, wanted, value):
            return
        elif why := self._why_not(account, path, value):
            self._leave(account, path, why)
        else:
            if path != BANNED and not same(path, wanted, change.recorded):
                self.found.notes.append(_both(account, path))
            self.found.wish(account, path, value)

    def _why_not(self, account: Account, path: str, value: Any) -> str:
        if not account.file.endswith(YAML):
            return "it is written in rows, which stay as the program that made them wrote them"
        names = [split(where)[0] for where in account.siblings or (account.address,)]
        for where in account.siblings:
            record = self.records.get(where)
            if where == account.address:
                continue
            if record is None:
                return f"its entry is for {split(where)[0]} too, where it is not recorded"
            held = record.is_banned if path == BANNED else record.current(path)
            if not same(path, held, value):
                return f"its entry is for {split(where)[0]} too, which holds something else"
        if path == BANNED:
            return ""
        top, *inner = _path(path)
        section: Any = raw(path, value)
        for name in reversed(inner):
            section = {name: section}
        wrong = unfit({top: section}, names, self.judge)
        return next((finding.summary for finding in wrong.values()), "")

    def _leave(self, account: Account, path: str, why: str) -> None:
        self.found.left.append(_left(account.address, account.source, path, why))


def pull(data: bytes, found: Found, wishes: Wishes, judge: Callable[[], Judge]) -> Pulled:
    """Return a file in which accounts hold what is wished, all else as it was.

    A file in the one layout stays in it. Old and new are read as a plan reads them, and must
    differ in nothing but the wishes; else the file is left. `judge` makes a fresh judge.
    """
    text = data.decode()
    splices: list[Splice] = []
    left: list[Diagnostic] = []
    done: dict[int, Wish] = {}
    for line, item, flow in _entries(data, text, found.file):
        if not (wish := wishes.get(line)):
            continue
        values = {
            _path(path): _value(item.value, path, value) for path, value in wish.values.items()
        }
        more, failed = put(item, values, text, flow=flow)
        splices += more
        source = Source(found.file, line)
        left += (_left(wish.address, source, ".".join(path), why) for path, why in failed.items())
        kept = {path: value for path, value in wish.values.items() if _path(path) not in failed}
        if kept:
            done[line] = Wish(wish.address, kept)
    if not splices:
        return Pulled(data, left=tuple(left))
    new = spliced(text, splices).encode()
    if tidy(data, found.file).text == data:
        new = tidy(new, found.file).text or new
    if not _proven(data, new, found, done, judge):
        return Pulled(data, left=(*left, _unproven(found.file)))
    fields = sum(len(wish.values) for wish in done.values())
    return Pulled(new, len(done), fields, tuple(left))


def _entries(data: bytes, text: str, file: str) -> Iterator[tuple[int, Item, bool]]:
    """Yield line, item, and whether it stands within brackets, of every account."""
    line, at = 1, 0
    inside = flow = False
    for part in parts(data, text, file):
        match part:
            case Open(item):
                inside, flow = True, item.value.flow
            case Close():
                inside = False
            case Item() if inside and part.key is not None:
                line += text.count("\n", at, part.key.start)
                at = part.key.start
                yield line, part, flow
            case _:
                pass


def _value(account: Node, path: str, value: Any) -> Any:
    """Return a value as the reader would give it; an extension as a mapping where it was one."""
    mapping = False
    if path == EXTENSION and (profile := account.get("profile")):
        item = profile.value.get("extension")
        mapping = item is not None and item.value.kind == "mapping"
    return raw(path, value, mapping=mapping)


def _path(path: str) -> Path:
    """Return the keys that lead to a field from its account."""
    return tuple(path.split(".", 2 if path.startswith("profile.") else 1))


def _proven(
    old: bytes,
    new: bytes,
    found: Found,
    wishes: Wishes,
    judge: Callable[[], Judge],
) -> bool:
    """Tell whether two texts declare the same accounts but for the wishes, which must be there."""
    findings: list[Diagnostic] = []
    streams = (alone(judge(), found, BytesIO(data), findings) for data in (old, new))
    for before, after in zip_longest(*streams):
        if before is None or after is None:
            return False
        wished = wishes[before.line].values if before.line in wishes else {}
        fields = ("address", "once", "adopt", "siblings")
        if any(getattr(before, name) != getattr(after, name) for name in fields):
            return False
        if before.digest != after.digest and not _differ_so(before, after, wished):
            return False
        if before.digest == after.digest and wished and not _hold(after, wished):
            return False
    return not has_errors(findings)


def _differ_so(before: Account, after: Account, wished: Mapping[str, Any]) -> bool:
    """Tell whether an account changed in just what was wished."""
    old, new = before.written(), after.written()
    if BANNED not in wished and old.get("ban") != new.get("ban"):
        return False
    if old.get("token") != new.get("token"):
        return False
    one, other = flatten(old), flatten(new)
    kept = one.keys() - wished.keys()
    return (
        all(path in other and other[path] == one[path] for path in kept)
        and not (other.keys() - one.keys() - wished.keys())
        and _hold(after, wished)
    )


def _hold(account: Account, wished: Mapping[str, Any]) -> bool:
    document = account.written()
    flat = flatten(document)
    return all(
        ("ban" in document) is value if path == BANNED else same(path, flat.get(path), value)
        for path, value in wished.items()
    )


def _left(where: Address, source: Source, path: str, why: str) -> Diagnostic:
    return warning(
        "not-pulled",
        f"{where}: {path} is left as it is",
        detail=f"{why[0].upper()}{why[1:].removesuffix('.')}.",
        source=source,
        address=where,
    )


def _missing(account: Account) -> Diagnostic:
    return warning(
        "missing",
        f"{account.address} does not exist at the vendor any more",
        hint="remove it from the YAML, or the next apply creates it again",
        source=account.source,
        address=account.address,
    )


def _undeclared(where: Address) -> Diagnostic:
    return warning(
        "not-in-yaml", f"{where} drifted, and no file declares it any more", address=where
    )


def _both(account: Account, path: str) -> Diagnostic:
    return warning(
        "both-changed",
        f"{account.address}: {path} was changed in the YAML too since it was applied",
        detail="What the vendor holds takes its place.",
        source=account.source,
        address=account.address,
    )


def _unproven(file: str) -> Diagnostic:
    return error(
        "not-the-same",
        "The file would say more than was pulled, so it was left.",
        hint="this is a bug in reconciler: please report it with the file",
        source=Source(file),
    )
