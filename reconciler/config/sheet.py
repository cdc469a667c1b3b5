"""Sheet: accounts of one file as columns, and the bytes in which they travel and are kept."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise, repeat
from operator import attrgetter
from typing import Any, Final, TypeAlias

from reconciler.accounts import Account, Address, split
from reconciler.values import canonical

Sinks: TypeAlias = Mapping[str, tuple[str, int, str]]
"""Where each token sink is named: file, line, id."""

_DIGEST: Final = 32
_new: Final = partial(tuple.__new__, Account)
_kind: Final = attrgetter("adopt", "once", "siblings")


def pack(accounts: Sequence[Account], sinks: Sinks, shift: int = 0) -> tuple[bytes, bytes]:
    """Return the columns of accounts of one file, and their documents.

    `shift` is added to every line. An address holds no line end, as no id does, and neither does
    canonical JSON.
    """
    kinds: dict[tuple[bool, tuple[str, ...], int], int] = {}
    of_kind = array(
        "H",
        [
            kinds.setdefault((adopt, once, len(siblings)), len(kinds))
            for adopt, once, siblings in map(_kind, accounts)
        ],
    )
    documents = b"\n".join([account.document for account in accounts])
    ends = [account.until for account in accounts]
    columns = (
        "\n".join([account.address for account in accounts]).encode(),
        b"".join([account.digest for account in accounts]),
        array("I", [account.line + shift for account in accounts]).tobytes(),
        of_kind.tobytes() if len(kinds) > 1 else b"",
        "\n".join(ends).encode() if any(ends) else b"",
    )
    head = canonical(
        {
            "count": len(accounts),
            "kinds": list(kinds),
            "sizes": [len(column) for column in columns],
            "sinks": {sink: [line + shift, key] for sink, (_, line, key) in sinks.items()},
            "apps": sorted({split(account.address)[0] for account in accounts}),
            "tokens": b'"token":' in documents,
            "until": min(filter(None, ends), default=""),
        }
    )
    return b"".join((len(head).to_bytes(4, "big"), head, *columns)), documents


class Sheet:
    """Accounts about which there is no finding, in the order of their file; see `Batch`.

    `sinks` are those that they name, `apps` their providers; `tokens` tells whether one has a
    token. Raises ValueError, KeyError or TypeError for what `pack` did not make. Where `documents`
    are missing the accounts have none.
    """

    same = False

    def __init__(self, columns: bytes, documents: bytes | None, file: str) -> None:
        start = 4 + int.from_bytes(columns[:4], "big")
        head = json.loads(columns[4:start])
        self.columns, self._documents, self.file = columns, documents, file
        self.apps: Sequence[str] = head["apps"]
        self.tokens: bool = head["tokens"]
        self.until: str = head["until"]
        self.sinks: Sinks = {sink: (file, line, key) for sink, (line, key) in head["sinks"].items()}
        ends = list(accumulate(head["sizes"], initial=start))
        named, summed, placed, of_kind, self._ends = (columns[at:end] for at, end in pairwise(ends))
        self._kinds: Any = head["kinds"]
        self._of_kind = of_kind
        self.addresses: list[Address] = named.decode().split("\n") if head["count"] else []  # type: ignore[assignment]  # they were addresses when they were packed
        self.digests = summed
        self.lines = array("I", placed)
        sizes = len(self.addresses), len(summed) / _DIGEST, len(self.lines)
        if {*sizes} != {head["count"]} or ends[-1] != len(columns):
            raise ValueError("the columns of the sheet differ in length")

    def told(self) -> Iterator[tuple[Address, bytes]]:
        """Yield address and digest of each."""
        digests = self.digests
        return zip(
            self.addresses,
            (digests[at : at + _DIGEST] for at in range(0, len(digests), _DIGEST)),
            strict=True,
        )

    def accounts(self) -> Sequence[Account]:
        """Return the accounts."""
        count = len(self.addresses)
        if not count:
            return ()
        rows = zip(
            self.addresses,
            repeat(b"", count) if self._documents is None else self._documents.split(b"\n"),
            [self.digests[at : at + _DIGEST] for at in range(0, len(self.digests), _DIGEST)],
            repeat(self.file, count),
            self.lines,
            *_columns(self._kinds, self._of_kind, self.addresses),
            self._ends.decode().split("\n") if self._ends else repeat("", count),
            strict=True,
        )
        return list(map(_new, rows))


def _columns(
    kinds: Iterable[tuple[bool, Iterable[str], int]], of_kind: bytes, addresses: list[Address]
) -> tuple[Iterable[bool], Iterable[tuple[str, ...]], Iterable[tuple[Address, ...]]]:
    """Return the columns `adopt`, `once` and `siblings`; most files have accounts of one kind."""
    known = [(bool(adopt), tuple(once), int(size)) for adopt, once, size in kinds]
    count = len(addresses)
    if len(known) == 1 and not known[0][2]:
        return repeat(known[0][0], count), repeat(known[0][1], count), repeat((), count)
    rows = [known[one] for one in array("H", of_kind)] or known * count
    return (
        [row[0] for row in rows],
        [row[1] for row in rows],
        _siblings(addresses, [row[2] for row in rows]),
    )


def _siblings(addresses: list[Address], sizes: list[int]) -> Iterator[tuple[Address, ...]]:
    """Yield the siblings of each account: an entry's accounts follow one another."""
    at = 0
    while at < len(addresses):
        size = sizes[at]
        yield from repeat(tuple(addresses[at : at + size]), size or 1)
        at += size or 1
