"""Chain: the history of a state walked link by link, and rewritten where personal data must go."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from reconciler.accounts import Address
from reconciler.errors import StateError
from reconciler.state import IN_DOUBT
from reconciler.stores.cipher import Cipher
from reconciler.stores.high_water import Mark, beside
from reconciler.stores.keys import Keys
from reconciler.stores.refusals import in_doubt
from reconciler.stores.rows import (
    JOURNAL,
    Broken,
    Meta,
    Row,
    link,
    number,
    opened,
    sealed,
    stored,
    to_run,
)
from reconciler.stores.tables import Place, Tables, open_meta
from reconciler.values import canonical, digest

Hide: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def verify(place: Place, keys: Keys, tables: Tables, mark: Mark | None) -> None:
    """Raise StateError or Broken unless the tables hold this workspace's whole newest state."""
    meta, _ = open_meta(place, tables, keys)
    if meta.workspace != place.workspace:
        raise StateError.of(
            "state-other-workspace",
            f"{place.name}: the state belongs to the workspace {meta.workspace!r}, not to"
            f" {place.workspace!r}",
            hint="A file holds one workspace; name another file under `state.path`.",
        )
    _check_tip(tables, meta)
    if mark is not None:
        _check_mark(place, tables, meta, mark)


def _check_tip(tables: Tables, meta: Meta) -> None:
    if meta.serial == 0:
        return
    row = tables.serial(meta.serial)
    if row is None:
        raise Broken(f"serial {meta.serial} is missing from the chain")
    _, kept, prev, content, *_ = row
    if not kept == meta.tip == link(prev, content, meta.serial) or content != stored(meta.content):
        raise Broken(f"serial {meta.serial} does not fit the chain")


def _check_mark(place: Place, tables: Tables, meta: Meta, mark: Mark) -> None:
    row = tables.serial(mark.serial)
    if meta.lineage != mark.lineage:
        why = (
            f"the state has lineage {meta.lineage or '(none)'}, but {mark.lineage} was"
            f" seen here last"
        )
    elif meta.serial < mark.serial:
        why = f"the state is at serial {meta.serial}, but {mark.serial} was already seen here"
    elif mark.serial and (row is None or row[1] != mark.digest):
        why = (
            f"the state is at serial {meta.serial}, but its serial {mark.serial} is not"
            f" the one that was seen here"
        )
    else:
        return
    raise StateError.of(
        "state-rolled-back",
        f"{place.name}: rolled back: {why}",
        hint=f"Put the newest state back or run `reconciler state restore FILE`; or, to go"
        f" on from this older state, delete {beside(place.beside)}.",
    )


def walk(tables: Tables, meta: Meta, cipher: Cipher) -> int:
    """Check all pages and indexes, every run, and the chain from its first serial to its tip.

    Returns how many serials there are. Raises Broken for what is not as it was written.
    """
    tables.walk()
    runs = {to_run(row, cipher).id for row in tables.runs()}
    before, count, content = digest(meta.lineage.encode()), 0, stored(0)
    for serial, kept, prev, content, _, run in tables.serials():
        count += 1
        if serial != count or prev != before or kept != link(prev, content, serial):
            raise Broken(f"serial {serial} does not fit the chain")
        if run not in runs:
            raise Broken(f"the run of serial {serial} is missing")
        before = kept
    if count != meta.serial or (count and (before, content) != (meta.tip, stored(meta.content))):
        raise Broken(f"the chain ends at serial {count}, the state is at {meta.serial}")
    return count


def rewrite(
    tables: Tables, meta: Meta, cipher: Cipher, address: Address, hide: Hide
) -> tuple[Meta, int]:
    """Replace the action of every line of an account's journal, inside a transaction.

    Returns the meta row that this makes, and how many lines changed. Raises StateError where one
    is in doubt: what was asked for is then still needed.
    """
    told, changed = meta.told, list[Row]()
    for row in tables.journal(address):
        cells = list(opened(JOURNAL, row, cipher))
        if cells[7] in IN_DOUBT:
            raise in_doubt(address)
        action = canonical(dict(hide(json.loads(cells[5]))))
        if (action, "") == (cells[5], cells[9]):
            continue
        cells[5], cells[9] = action, ""
        fresh = sealed(JOURNAL, tuple(cells), cipher)
        told += number(fresh[-1]) - number(row[-1])
        changed.append(fresh)
    tables.change_journal(changed)
    return replace(meta, told=told), len(changed)
