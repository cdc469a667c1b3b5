"""Targets: whether addresses on the command line are those of accounts, and which may be meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.accounts import Address, Batch
    from reconciler.state import Reader

MOST: Final = 20_000
"""Addresses that are compared; a typing error must not cost seconds among a million accounts."""


def nearest(where: str, known: Iterable[str]) -> str:
    """Return the known address that is nearest, empty where none is near.

    One of the halves of the id must be the same, as it is after one typing error.
    """
    from difflib import get_close_matches

    name, _, account_id = where.partition("/")
    half = len(account_id) // 2
    begin, end = f"{name}/{account_id[:half]}", account_id[half:]
    alike = (
        one
        for one in known
        if abs(len(one) - len(where)) < 4 and one != where
        if one.startswith(begin) or one.endswith(end)
    )
    found = get_close_matches(where, islice(alike, MOST), 1, 0.7)
    return found[0] if found else ""


def meant(where: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the hint that names the nearest address, else another hint."""
    near = nearest(where, known)
    return f"did you mean {near}?" if near else otherwise


def noted(desired: Iterable[Batch], written: list[Address]) -> Iterator[Batch]:
    """Yield the accounts, and note their addresses."""
    for batch in desired:
        written.extend(batch.addresses)
        yield batch


def check(
    targets: Iterable[str], recorded: Reader, written: Iterable[Address] | None = None
) -> None:
    """Raise UsageError for a target that is no account: nothing to do there would be a lie.

    `written` are the desired addresses, None where only the recorded ones are looked at.
    """
    wanted = {target for target in targets if "/" in target}
    if not wanted:
        return
    known = set(chain((where for where, _ in recorded.index()), written or ()))
    known |= {intent.address for intent in recorded.unresolved()}
    for target in sorted(wanted - known):
        raise UsageError.of(
            "bad-address",
            f"{target} is {'not' if written is None else 'neither written nor'} recorded",
            hint=meant(target, sorted(known), "see: reconciler state list"),
        )
