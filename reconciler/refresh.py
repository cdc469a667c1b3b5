"""Refresh: read recorded accounts at their vendors, and accept what they hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby, islice

from reconciler.accounts import Address, Observed, split
from reconciler.carry import Link, look
from reconciler.conversation import ReadFailed, Why
from reconciler.errors import VendorError
from reconciler.state import Record, Writer

GROUP = 512
"""Records that are written in one transaction."""


def read(
    records: Iterable[Record], links: Mapping[str, Link]
) -> Iterator[tuple[Record, Observed | None]]:
    """Yield every record with what its vendor holds now; None where one account was not told.

    `records` come sorted by address. Several batches are under way at once and only those are in
    memory. Raises VendorError naming the provider if a whole batch cannot be read: half a
    picture is not one.
    """
    for provider, group in groupby(records, key=lambda record: split(record.address)[0]):
        if provider not in links:
            raise VendorError.of(
                "unknown-provider",
                f"accounts are recorded under provider {provider!r}, which "
                "reconciler.yaml does not have",
                hint=f"put it back, or move them: reconciler state mv {provider}/ID NEW/ID",
            )
        yield from _read_app(provider, links[provider], group)


def _read_app(
    provider: str, link: Link, records: Iterator[Record]
) -> Iterator[tuple[Record, Observed | None]]:
    size = link.provider.capabilities.batch.get("read", 1)
    batches = iter(lambda: list(islice(records, size)), [])
    with ThreadPoolExecutor(link.concurrency, f"read-{provider}") as pool:
        under_way: deque[tuple[list[Record], Future[dict[Address, Observed]]]] = deque()
        try:
            while True:
                for batch in islice(batches, 2 * link.concurrency - len(under_way)):
                    addresses = [record.address for record in batch]
                    under_way.append((batch, pool.submit(look, link, addresses)))
                if not under_way:
                    return
                batch, future = under_way.popleft()
                seen = _told(provider, future)
                yield from ((record, seen.get(record.address)) for record in batch)
        finally:
            for _, future in under_way:
                future.cancel()


def _told(provider: str, future: Future[dict[Address, Observed]]) -> dict[Address, Observed]:
    try:
        return future.result()
    except ReadFailed as failed:
        outcome = failed.outcome
        refused = outcome.why is Why.AUTH
        raise VendorError.of(
            "unreadable",
            f"provider {provider} could not be read",
            detail=" ".join(part for part in (outcome.code, outcome.message) if part),
            hint="nothing was changed; "
            + ("check the credentials and the clock" if refused else "run it again"),
        ) from None


def accept(pairs: Iterable[tuple[Record, Observed | None]], writer: Writer) -> tuple[int, int]:
    """Record what was read; return how many accounts were read and how many records changed."""
    total = changed = 0
    pairs = iter(pairs)
    while group := list(islice(pairs, GROUP)):
        fresh = [
            replace(record, observed=seen)
            for record, seen in group
            if seen is not None and seen != record.observed
        ]
        total += len(group)
        changed += len(fresh)
        if fresh:
            writer.save(fresh, (), "refresh")
    return total, changed
