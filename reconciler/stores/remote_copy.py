"""Copy: the state of a remote as this process holds it, and each write that keeps both equal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from reconciler.stores.lease import Held
from reconciler.stores.remote_content import (
    Change,
    Content,
    decode,
    encode,
    encode_step,
    replay,
)

FOLD: Final = 100
"""Steps after which the whole document is written again, so that reading stays short."""

LARGE: Final = 1000
"""Rows of a write from which on the whole document is no more work than a step."""

NEVER: Final = 253402300799.0
"""When a lock ends that has no lease: with the year 9999."""

LEASE_SECONDS: Final = 60.0
"""How long a lock counts after its holder was heard of last."""

MARK: Final = "reconciler-"
"""What the id of every lock of ours begins with."""


class Moved(Exception):
    """The remote, or its lock, is not as this process left it: somebody else has written."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a remote holds: the document (None: there is none), its version tag, and the steps.

    Steps come in order with their revisions; those that the document holds already may be there.
    """

    document: bytes | None = None
    tag: str = ""
    steps: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Copy:
    """The content as it was read or written last; `steps` were appended since the document."""

    content: Content
    tag: str = ""
    steps: int = 0


class Remote(Protocol):
    """Where a document and its lock are kept. Every failure is a StateError for a person.

    `appends` says that steps can be appended, `leases` that the lock carries its own lease; where
    it does not, the lease stands in the document. What may or may not have taken effect is read
    again before a method returns, so that an answer is always certain.
    """

    name: str
    appends: bool
    leases: bool

    def now(self) -> float:
        """Return seconds since 1970 by the remote's clock, as far as it tells its time."""
        ...

    def read(self) -> Found:
        """Return what is stored, as of one moment."""
        ...

    def prove(self) -> None:
        """Make sure, before the first write ever, that the remote keeps what it promises."""
        ...

    def write(self, copy: Copy, after: Content, document: bytes, held: Held) -> str:
        """Replace the document of `copy` under this lock; return its tag. Raises Moved."""
        ...

    def append(self, after: Content, step: bytes, held: Held) -> None:
        """Add the step that makes `after` under this lock. Raises Moved."""
        ...

    def holder(self) -> Held | None:
        """Return who has the lock, ended or not; None if nobody has."""
        ...

    def take(self, mine: Held) -> Held:
        """Take a free lock; return it as it is held then, by `mine.id` or by another."""
        ...

    def renew(self, before: Held, after: Held) -> None:
        """Prolong the lease of a lock that carries one. Raises Moved."""
        ...

    def free(self, held: Held, fence: int) -> bool:
        """Give up exactly this lock, the next one above `fence`; False if it is held no more."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


def load(remote: Remote, workspace: str) -> Copy:
    """Read the remote. Raises StateError for all that is not this workspace's state, intact."""
    found = remote.read()
    content = Content(workspace)
    if found.document is not None:
        content = decode(found.document, remote.name, workspace)
    count = 0
    for revision, step in found.steps:
        if revision > content.revision:
            content = replay(content, step, remote.name)
            count += 1
    return Copy(content, found.tag, count)


def commit(remote: Remote, copy: Copy, change: Change, held: Held) -> Copy:
    """Make a change durable under this lock. Raises Moved, and StateError if it cannot be known."""
    fence = max(change.fence, held.fence)
    after = replace(copy.content.after(replace(change, fence=fence)), lock=held)
    if remote.appends and copy.steps < FOLD and len(change.journal) < LARGE:
        step, after = encode_step(after, copy.content.seal, change)
        remote.append(after, step, held)
        return Copy(after, copy.tag, copy.steps + 1)
    return _whole(remote, copy, after, held)


def fold(remote: Remote, copy: Copy, held: Held) -> Copy:
    """Write the whole document if steps were appended since, so that the next one reads little."""
    if not copy.steps:
        return copy
    return _whole(remote, copy, replace(copy.content, revision=copy.content.revision + 1), held)


def _whole(remote: Remote, copy: Copy, after: Content, held: Held) -> Copy:
    document, after = encode(after, copy.content.seal)
    return Copy(after, remote.write(copy, after, document, held))
