"""Content: a whole recorded state in memory, what one write changes in it, and its text remotely.

Remote state is read whole and kept in memory only: nothing that a runner's disk could have kept
is trusted, and nothing personal is left there. Content never changes; a write makes the next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reconciler.accounts import Address
from reconciler.errors import ReconcilerError, StateError
from reconciler.state import Entry, Identity, Intent, Record, Run, Status
from reconciler.stores.held import Held
from reconciler.values import canonical, loads

VERSION: Final = 1
"""Of the document's layout. A newer one is refused."""


_SAYS: Final = b'"digest":"sha256:'


class Damaged(Exception):
    """A text is not what was written; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one write does: rows to put by key, None for a record that is dropped.

    `serial` is the state's serial afterwards, None where no record changes; `key` the id of the
    key that the state is under afterwards, None where it stays under its own. `anew` says that
    nothing stays of what was there before, not even its digest.
    """

    lineage: str = ""
    serial: int | None = None
    key: str | None = None
    anew: bool = False
    fence: int = 0
    apps: Mapping[str, str] = field(default_factory=dict)
    runs: Mapping[str, bytes] = field(default_factory=dict)
    accounts: Mapping[Address, bytes | None] = field(default_factory=dict)
    journal: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Content:
    """A state at one moment; rows are the canonical JSON that stands in the document.

    `serial` counts changes of records, as for every store. `revision` counts every write, so
    that each text has a number of its own; `seal` is the digest of the text of this revision
    (hex), which the next one names. `lock` is the lock that wrote it, with its lease. `key` is
    the id of the key that it is encrypted with, empty where it is clear.
    """

    workspace: str
    lineage: str = ""
    serial: int = 0
    revision: int = 0
    seal: str = ""
    fence: int = 0
    lock: Held = field(default_factory=Held)
    key: str = ""
    apps: Mapping[str, str] = field(default_factory=dict)
    runs: Mapping[str, bytes] = field(default_factory=dict)
    accounts: Mapping[Address, bytes] = field(default_factory=dict)
    journal: Mapping[int, bytes] = field(default_factory=dict)
    intents: Mapping[str, int] = field(default_factory=dict)
    doubts: Mapping[str, int] = field(default_factory=dict)

    def identity(self) -> Identity:
        """Return workspace, lineage and serial."""
        return Identity(self.workspace, self.lineage, self.serial, key=self.key)

    def everything(self) -> Iterator[Record]:
        """Yield every record, sorted by address."""
        return self.records(sorted(self.accounts))

    def records(self, addresses: Iterable[Address]) -> Iterator[Record]:
        """Yield the records of these addresses; unknown ones are left out."""
        for address in addresses:
            if (row := self.accounts.get(address)) is not None:
                yield to_record(row)

    def unresolved(self) -> tuple[Intent, ...]:
        """Return the intents in doubt, oldest first."""
        return tuple(_intent(json.loads(self.journal[seq])) for seq in sorted(self.doubts.values()))

    def history(self, address: Address | None = None) -> Iterator[Entry]:
        """Yield what was done, oldest first, of one account or of all."""
        runs: dict[str, Run] = {}
        for _, row in sorted(self.journal.items()):
            line = json.loads(row)
            if line["status"] == Status.INTENT or address not in (None, line["address"]):
                continue
            run = line["run"]
            if run not in runs:
                runs[run] = Run.from_json(json.loads(self.runs[run]))
            yield Entry(
                line["ended_at"] or line["started_at"],
                runs[run],
                Address(line["address"]),
                line["action"],
                Status(line["status"]),
                line["code"],
                line["message"],
            )

    def after(self, change: Change) -> Content:
        """Return the content that the change makes; its revision is the next, its seal open."""
        accounts = self.accounts
        if change.accounts:
            accounts = {**accounts}
            for address, row in change.accounts.items():
                if row is None:
                    accounts.pop(address, None)
                else:
                    accounts[address] = row
        intents, doubts = {**self.intents}, {**self.doubts}
        for seq, row in change.journal.items():
            _enter(seq, json.loads(row), intents, doubts)
        return replace(
            self,
            lineage=self.lineage or change.lineage,
            serial=self.serial if change.serial is None else change.serial,
            revision=self.revision + 1,
            seal="",
            fence=max(self.fence, change.fence),
            key=self.key if change.key is None else change.key,
            apps={**self.apps, **change.apps},
            runs={**self.runs, **change.runs} if change.runs else self.runs,
            accounts=accounts,
            journal={**self.journal, **change.journal} if change.journal else self.journal,
            intents=intents,
            doubts=doubts,
        )


def shape_of(record: Record) -> dict[str, Any]:
    """Return the row of a record as JSON: the snapshot's shape, and a key that this may lack."""
    return {**record.to_json(), "token_key": record.token_key}


def to_record(row: bytes) -> Record:
    """Return the record of a row."""
    shape = json.loads(row)
    return replace(Record.from_json(shape), token_key=shape["token_key"])


def _lock_shape(held: Held) -> dict[str, Any]:
    """Return a lock with its times in milliseconds: a whole number is written in one way only."""
    times = {"acquired": round(held.acquired * 1000), "expires": round(held.expires * 1000)}
    return {**held.shape(), **times}


def _lock(shape: Mapping[str, Any]) -> Held:
    held = Held(**shape)
    return replace(held, acquired=held.acquired / 1000, expires=held.expires / 1000)


def _intent(line: Mapping[str, Any]) -> Intent:
    return Intent(
        line["intent"],
        line["run"],
        Address(line["address"]),
        line["action"],
        line["known_absent"],
        Status(line["status"]),
        line["started_at"],
    )


def _enter(
    seq: int, line: Mapping[str, Any], intents: dict[str, int], doubts: dict[str, int]
) -> None:
    """Note a line of the journal under the intent that it is of."""
    if id := line["intent"]:
        intents[id] = seq
        doubts.pop(id, None)
        if line["status"] in (Status.INTENT, Status.AMBIGUOUS):
            doubts[id] = seq


def encode(after: Content, before: str) -> tuple[bytes, Content]:
    """Return the document of a content, and the content with its seal.

    `before` is the seal of the revision that it follows.
    """
    head = {
        "apps": dict(after.apps),
        "fence": after.fence,
        "follows": before,
        "lineage": after.lineage,
        "lock": _lock_shape(after.lock),
        "serial": after.revision,
        "state_serial": after.serial,
        "tool": "reconciler",
        "version": VERSION,
        "workspace": after.workspace,
    }
    rows = {
        "accounts": [after.accounts[address] for address in sorted(after.accounts)],
        "journal": [row for _, row in sorted(after.journal.items())],
        "runs": [row for _, row in sorted(after.runs.items())],
    }
    seal = _seal(head, rows)
    pieces = [b"{"]
    for name, lines in rows.items():
        pieces += [b'"', name.encode(), b'":[\n', b",\n".join(lines), b"\n],"]
    pieces += [canonical({**head, "digest": f"sha256:{seal}"})[1:], b"\n"]
    return b"".join(pieces), replace(after, seal=seal)


def _seal(head: Mapping[str, Any], rows: Mapping[str, list[bytes]]) -> str:
    told = hashlib.sha256(canonical(head))
    for name, lines in rows.items():
        told.update(f"\n{name} {len(lines)}\n".encode())
        for line in lines:
            told.update(line)
            told.update(b"\n")
    return told.hexdigest()


def decode(data: bytes, name: str, workspace: str) -> Content:
    """Read a document. Raises StateError for all that is not this workspace's, whole and intact.

    The digest is over values and not over bytes: a server may keep JSON in a form of its own.
    """
    try:
        shape = loads(data)
    except ValueError as error:
        # An empty answer, or the page of a proxy, must never pass for an empty state.
        raise _refused(
            "state-corrupt",
            f"{name}: what is stored there is no JSON, so no state",
            f"{error}"[:200],
            "Check the address; put back the last good version if the store keeps versions.",
        ) from None
    if not isinstance(shape, dict) or shape.get("tool") != "reconciler" or "journal" not in shape:
        raise _refused(
            "state-foreign",
            f"{name}: what is stored there is something else's",
            "",
            "Name an address of its own; `reconciler state push` puts a pulled snapshot there.",
        )
    version = shape.get("version")
    if isinstance(version, int) and version > VERSION:
        raise _refused(
            "state-newer",
            f"{name}: the state has version {version}, made by a newer reconciler;"
            f" this one knows {VERSION}",
            "",
            "Upgrade reconciler.",
        )
    try:
        content = _content(shape)
    except (Damaged, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise corrupt(name, f"{type(error).__name__}: {error}") from None
    if content.workspace != workspace:
        raise _refused(
            "state-other-workspace",
            f"{name}: the state belongs to the workspace {content.workspace!r}, not to"
            f" {workspace!r}",
            "",
            "An address holds one workspace; name another one.",
        )
    return content


def _content(shape: dict[str, Any]) -> Content:
    digest = shape.pop("digest")
    parts = {name: shape.pop(name) for name in ("accounts", "journal", "runs")}
    rows = {name: [canonical(row) for row in part] for name, part in parts.items()}
    seal = _seal(shape, rows)
    if digest != f"sha256:{seal}" or shape["version"] != VERSION:
        raise Damaged("its digest does not fit")
    intents: dict[str, int] = {}
    doubts: dict[str, int] = {}
    for line in parts["journal"]:
        _enter(line["seq"], line, intents, doubts)
    return Content(
        shape["workspace"],
        shape["lineage"],
        shape["state_serial"],
        shape["serial"],
        seal,
        shape["fence"],
        _lock(shape["lock"]),
        "",
        shape["apps"],
        _keyed(parts["runs"], rows["runs"], "id"),
        _keyed(parts["accounts"], rows["accounts"], "address"),
        _keyed(parts["journal"], rows["journal"], "seq"),
        intents,
        doubts,
    )


def _keyed(shapes: list[Any], rows: list[bytes], key: str) -> dict[Any, bytes]:
    return {shape[key]: row for shape, row in zip(shapes, rows, strict=True)}


def encode_step(after: Content, before: str, change: Change) -> tuple[bytes, Content]:
    """Return the text of one write alone, and the content that it makes with its seal."""
    shape: dict[str, Any] = {
        "apps": dict(change.apps),
        "fence": after.fence,
        "follows": before,
        "forget": [address for address, row in change.accounts.items() if row is None],
        "lineage": after.lineage,
        "lock": _lock_shape(after.lock),
        "serial": after.revision,
        "state_serial": after.serial,
        "tool": "reconciler",
        "version": VERSION,
        "accounts": [json.loads(row) for row in change.accounts.values() if row is not None],
        "journal": [json.loads(row) for row in change.journal.values()],
        "runs": [json.loads(row) for row in change.runs.values()],
    }
    seal = hashlib.sha256(canonical(shape)).hexdigest()
    return canonical({**shape, "digest": f"sha256:{seal}"}) + b"\n", replace(after, seal=seal)


def replay(content: Content, data: bytes, name: str) -> Content:
    """Return the content after one more step. Raises StateError if it does not follow, intact."""
    try:
        shape = loads(data)
        if not isinstance(shape, dict):
            raise Damaged("it is no JSON object")
        digest = shape.pop("digest")
        seal = hashlib.sha256(canonical(shape)).hexdigest()
        if digest != f"sha256:{seal}":
            raise Damaged("its digest does not fit")
        if (shape["serial"], shape["follows"]) != (content.revision + 1, content.seal):
            raise Damaged(f"it does not follow revision {content.revision}")
        accounts: dict[Address, bytes | None] = dict.fromkeys(map(Address, shape["forget"]))
        accounts.update({row["address"]: canonical(row) for row in shape["accounts"]})
        change = Change(
            shape["lineage"],
            shape["state_serial"],
            fence=shape["fence"],
            apps=shape["apps"],
            runs={row["id"]: canonical(row) for row in shape["runs"]},
            accounts=accounts,
            journal={row["seq"]: canonical(row) for row in shape["journal"]},
        )
        return replace(content.after(change), seal=seal, lock=_lock(shape["lock"]))
    except (Damaged, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise corrupt(name, f"{type(error).__name__}: {error}") from None


def told_digest(document: bytes) -> str | None:
    """Return what a document or step says its digest is (hex), None for nonsense."""
    # No text in the document can hold this, as its quotes would be escaped; the last is its own.
    at = document.rfind(_SAYS) + len(_SAYS)
    if at >= len(_SAYS):
        return document[at : at + 64].decode("ascii", "replace")
    try:
        shape: Any = json.loads(document)
        return str(shape["digest"]).removeprefix("sha256:")
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def corrupt(name: str, why: str) -> ReconcilerError:
    """Return the error for state that is not what was written."""
    return _refused(
        "state-corrupt",
        f"{name}: the state is damaged",
        f"{why[:300]}.",
        "Put back the last good version, if the store keeps versions.",
    )


def _refused(id: str, summary: str, detail: str, hint: str) -> ReconcilerError:
    return StateError.of(id, summary, detail=detail, hint=hint)
