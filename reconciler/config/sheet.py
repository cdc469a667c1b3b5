"""Sheet: accounts of one file as columns, and the bytes in which they travel and are kept."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise, repeat
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from reconciler.accounts import Account, Address, split
from reconciler.values import canonical

Sinks: TypeAlias = Mapping[str, tuple[str, int, str]]
"""Where each token sink is named: file, line, id."""

_DIGEST: Final = 32
_new: Final = partial(tuple.__new__, Account)
_kind: Final = attrgetter("adopt", "once", "siblings")


class Sheet(NamedTuple):
    """Accounts about which there is no finding, in the order of their file, and their sinks.

    `columns` are the bytes of all that but the documents; `apps` names the accounts' providers.
    """

    accounts: Sequence[Account]
    sinks: Sinks
    columns: bytes
    apps: Sequence[str]


def pack(accounts: Sequence[Account], sinks: Sinks, shift: int = 0) -> tuple[bytes, bytes]:
    """Return the columns of a sheet, and its documents; `shift` is added to every line.

    An address holds no line end, as no id does, and neither does canonical JSON.
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
    columns = (
        "\n".join([account.address for account in accounts]).encode(),
        b"".join([account.digest for account in accounts]),
        array("I", [account.line + shift for account in accounts]).tobytes(),
        of_kind.tobytes() if len(kinds) > 1 else b"",
    )
    head = canonical(
        {
            "count": len(accounts),
            "kinds": list(kinds),
            "sizes": [len(column) for column in columns],
            "sinks": {sink: [line + shift, key] for sink, (_, line, key) in sinks.items()},
            "apps": sorted({split(account.address)[0] for account in accounts}),
            "tokens": b'"token":' in documents,
        }
    )
    return b"".join((len(head).to_bytes(4, "big"), head, *columns)), documents


def unpack(columns: bytes, documents: bytes | None, file: str) -> Sheet:
    """Return the sheet of a file; without documents its accounts have none.

    Raises ValueError, KeyError or TypeError for what `pack` did not make.
    """
    head, start = _head(columns)
    count: int = head["count"]
    ends = list(accumulate(head["sizes"], initial=start))
    if ends[-1] != len(columns):
        raise ValueError("the sheet has another length than it says")
    named, summed, placed, sorted_ = (columns[at:end] for at, end in pairwise(ends))
    sinks = {sink: (file, line, key) for sink, (line, key) in head["sinks"].items()}
    if not count:
        return Sheet((), sinks, columns, ())
    addresses = [Address(one) for one in named.decode().split("\n")]
    rows = zip(
        addresses,
        repeat(b"", count) if documents is None else documents.split(b"\n"),
        [summed[at : at + _DIGEST] for at in range(0, len(summed), _DIGEST)],
        repeat(file, count),
        array("I", placed),
        *_kinds(head["kinds"], array("H", sorted_), addresses),
        strict=True,
    )
    return Sheet(list(map(_new, rows)), sinks, columns, head["apps"])


def tokens(columns: bytes) -> bool:
    """Tell whether an account of a sheet has a token."""
    return bool(_head(columns)[0]["tokens"])


def _head(columns: bytes) -> tuple[dict[str, Any], int]:
    """Return what is told of the columns, and where they begin."""
    start = 4 + int.from_bytes(columns[:4], "big")
    return json.loads(columns[4:start]), start


def _kinds(
    kinds: Iterable[tuple[bool, Iterable[str], int]],
    of_kind: Sequence[int],
    addresses: list[Address],
) -> tuple[Iterable[bool], Iterable[tuple[str, ...]], Iterable[tuple[Address, ...]]]:
    """Return the columns `adopt`, `once` and `siblings`; most files have accounts of one kind."""
    known = [(bool(adopt), tuple(once), int(size)) for adopt, once, size in kinds]
    count = len(addresses)
    if len(known) == 1 and not known[0][2]:
        return repeat(known[0][0], count), repeat(known[0][1], count), repeat((), count)
    rows = [known[one] for one in of_kind] or known * count
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
