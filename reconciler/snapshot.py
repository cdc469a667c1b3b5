"""Snapshot: the whole recorded state as one JSON value, and as a reader to plan against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.accounts import Address
from reconciler.errors import StateError
from reconciler.state import Entry, Identity, Intent, Lock, Reader, Record
from reconciler.values import canonical, digest, loads

VERSION: Final = 1

LARGEST: Final = 1 << 31
"""Bytes of the largest snapshot that is read: some two million accounts."""

PERSONAL: Final = ("profile.", "banned.evidence", "banned.notify")
"""What `state pull --redact` leaves out."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state at rest. It is a Reader: a plan can be made against it without any store."""

    who: Identity
    accounts: Mapping[Address, Record]
    bound: Mapping[str, str]
    redacted: bool = False

    def identity(self) -> Identity:
        """Return workspace, lineage and serial at the time of the pull."""
        return self.who

    def index(self) -> Iterator[tuple[Address, bytes | None]]:
        """Yield address and digest; a redacted record always asks for a closer look."""
        for where, record in self.accounts.items():
            yield where, None if self.redacted else record.index_digest

    def records(self, addresses: Iterable[Address]) -> Iterator[Record]:
        """Yield the records of these addresses."""
        for where in addresses:
            if where in self.accounts:
                yield self.accounts[where]

    def everything(self) -> Iterator[Record]:
        """Yield every record, sorted by address."""
        return iter(self.accounts.values())

    def unresolved(self) -> tuple[Intent, ...]:
        """Return nothing: doubts stay with the store they belong to."""
        return ()

    def apps(self) -> Mapping[str, str]:
        """Return the vendor app of each provider."""
        return self.bound

    def history(self, address: Address | None = None) -> Iterator[Entry]:  # noqa: ARG002
        """Yield nothing: a snapshot is one moment."""
        return iter(())

    def held(self) -> Lock | None:
        """Return None: nobody locks a snapshot."""
        return None


def encode(recorded: Reader, *, redact: bool = False) -> Iterator[bytes]:
    """Yield the canonical JSON of a snapshot in pieces, so that memory stays flat.

    The last piece carries the digest over all that came before, and the chain of the serials that
    led to it where the store keeps one.
    """
    who = recorded.identity()
    head: dict[str, Any] = {
        "apps": dict(recorded.apps()),
        "lineage": who.lineage,
        "redacted": redact,
        "serial": who.serial,
        "tool": "reconciler",
        "version": VERSION,
        "workspace": who.workspace,
        **({"chain": who.chain} if who.chain else {}),
    }
    told = digest(canonical(head))
    yield b'{"accounts":['
    for number, record in enumerate(recorded.everything()):
        shape = record.to_json()
        line = canonical(_redacted(shape) if redact else shape)
        told = digest(told + line)
        yield (b",\n" if number else b"\n") + line
    yield b"\n]," + canonical({**head, "digest": f"sha256:{told.hex()}"})[1:] + b"\n"


def _redacted(shape: dict[str, Any]) -> dict[str, Any]:
    observed = shape["observed"]
    ban = shape["ban"]
    return {
        **shape,
        "attributes": {**shape["attributes"], "profile": {}},
        "observed": {**observed, "profile": {}} if observed else None,
        "ban": {k: v for k, v in ban.items() if k not in ("evidence", "notify")} if ban else ban,
    }


def decode(data: bytes, name: str) -> Snapshot:
    """Read a snapshot. Raises StateError for anything that is not one, whole and unchanged."""
    try:
        told = loads(data)
        if not isinstance(told, dict) or told.get("tool") != "reconciler":
            raise ValueError("it is no snapshot of this tool")
        if told["version"] != VERSION:
            raise ValueError(f"its version is {told['version']!r}, this tool reads {VERSION}")
        accounts, sealed = told.pop("accounts"), told.pop("digest")
        chain = digest(canonical(told))
        for shape in accounts:
            chain = digest(chain + canonical(shape))
        if sealed != f"sha256:{chain.hex()}":
            raise ValueError("its digest does not fit: it was edited or cut")
        records = [Record.from_json(shape) for shape in accounts]
        who = Identity(
            str(told["workspace"]),
            str(told["lineage"]),
            int(told["serial"]),
            str(told.get("chain", "")),
        )
        return Snapshot(
            who,
            {record.address: record for record in records},
            dict(told["apps"]),
            bool(told["redacted"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise StateError.of(
            "bad-snapshot",
            f"{name} is not a usable snapshot",
            detail=f"{problem}.",
            hint="make it with: reconciler state pull",
        ) from None
