"""Reencrypt: every row of a state written anew under another key, or as clear text."""

from __future__ import annotations

from dataclasses import replace

from reconciler.state import IN_DOUBT
from reconciler.stores.cipher import Cipher, Forged, Kind
from reconciler.stores.rows import (
    ACCOUNT,
    JOURNAL,
    RUN,
    Broken,
    Meta,
    Row,
    chunks,
    demand_sum,
    number,
    opened,
    sealed,
    term,
)
from reconciler.stores.tables import Tables


def reencrypt(tables: Tables, meta: Meta, before: Cipher, after: Cipher) -> Meta:
    """Write every row anew, inside a transaction; return the meta row without its next serial.

    What is read is compared with the sums of it, so that nothing forged is vouched for anew. Raises
    Broken.
    """
    content = _accounts(tables, meta, before, after)
    doubt, told = _journal(tables, meta, before, after)
    for rows in chunks(tables.runs()):
        tables.change_runs([_anew(RUN, row, before, after) for row in rows])
    return replace(meta, content=content, doubt=doubt, told=told, key=after.id)


def _accounts(tables: Tables, meta: Meta, before: Cipher, after: Cipher) -> int:
    """Write the accounts anew; return the sum of them."""
    found = content = 0
    for rows in chunks(tables.every()):
        found += sum(term(row[0], row[1]) for row in rows)
        try:
            looks = after.mask(before.unmask([row[1] for row in rows]))
        except Forged:
            raise Broken("the accounts are not the ones that were recorded") from None
        content += sum(term(row[0], look) for row, look in zip(rows, looks, strict=True))
        fresh = []
        for row, look in zip(rows, looks, strict=True):
            address, _, *rest = opened(ACCOUNT, row, before)
            fresh.append(sealed(ACCOUNT, (address, look, *rest), after))
        tables.put_accounts(fresh, ())
    demand_sum(found, meta.content, "the accounts")
    return content


def _journal(tables: Tables, meta: Meta, before: Cipher, after: Cipher) -> tuple[int, int]:
    """Write the journal anew; return the sums of what is in doubt and of all else."""
    found, sums = 0, {True: 0, False: 0}
    for rows in chunks(tables.journal()):
        found += sum(number(row[-1]) for row in rows)
        fresh = [_anew(JOURNAL, row, before, after) for row in rows]
        for row in fresh:
            sums[row[7] in IN_DOUBT] += number(row[-1])
        tables.change_journal(fresh)
    demand_sum(found, meta.doubt + meta.told, "the lines of the journal")
    return sums[True], sums[False]


def _anew(kind: Kind, row: Row, before: Cipher, after: Cipher) -> Row:
    return sealed(kind, opened(kind, row, before), after)
