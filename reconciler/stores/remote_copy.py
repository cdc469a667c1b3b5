"""Copy: the state of a remote as this process holds it, and each write that keeps both equal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from reconciler.errors import StateError
from reconciler.stores import envelope
from reconciler.stores.held import Held
from reconciler.stores.keys import NO_KEYS, Keys
from reconciler.stores.remote_content import (
    Change,
    Content,
    corrupt,
    decode,
    encode,
    encode_step,
    replay,
    told_digest,
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


_STATE: Final = "state"
_STEP: Final = "step"


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
    keys: Keys = NO_KEYS
    tag: str = ""
    steps: int = 0


class Appends(Protocol):
    """What a remote can do that takes steps."""

    def append(self, after: Content, step: bytes, held: Held) -> None:
        """Add the step that makes `after` under this lock. Raises Moved."""
        ...


class Leases(Protocol):
    """What a remote can do whose lock carries a lease."""

    def renew(self, before: Held, after: Held) -> None:
        """Prolong the lease of the lock. Raises Moved."""
        ...


class Remote(Protocol):
    """Where a document and its lock are kept. Every failure is a StateError for a person.

    Where it `appends` nothing, every write is the whole document; where it `leases` nothing, the
    lease stands in the document. What may or may not have taken effect is read again before a
    method returns, so that an answer is always certain.
    """

    @property
    def name(self) -> str: ...
    @property
    def appends(self) -> Appends | None: ...
    @property
    def leases(self) -> Leases | None: ...

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

    def holder(self) -> Held | None:
        """Return who has the lock, ended or not; None if nobody has."""
        ...

    def take(self, mine: Held) -> Held:
        """Take a free lock; return it as it is held then, by `mine.id` or by another."""
        ...

    def free(self, held: Held, fence: int) -> bool:
        """Give up exactly this lock, the next one above `fence`; False if it is held no more."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


def load(remote: Remote, workspace: str, keys: Keys) -> Copy:
    """Read the remote. Raises StateError for all that is not this workspace's state, intact."""
    found = remote.read()
    content = Content(workspace)
    if found.document is not None:
        text = envelope.opened(found.document, _STATE, keys, remote.name)
        content = decode(text.text, remote.name, workspace)
        content = _under(content, text)
    count = 0
    for revision, step in found.steps:
        if revision > content.revision:
            text = envelope.opened(step, _STEP, keys, remote.name)
            if content.revision and text.key != content.key:
                raise corrupt(remote.name, f"step {revision} is not encrypted as the rest is")
            content = _under(replay(content, text.text, remote.name), text)
            count += 1
    keys.reading(content.key, workspace, content.lineage, remote.name)
    return Copy(content, keys, found.tag, count)


def _under(content: Content, text: envelope.Opened) -> Content:
    """Return content as its envelope has it: what is stored and compared is the envelope."""
    return replace(content, key=text.key, seal=text.digest) if text.key else content


def commit(remote: Remote, copy: Copy, change: Change, held: Held) -> Copy:
    """Make a change durable under this lock. Raises Moved, and StateError if it cannot be known."""
    fence = max(change.fence, held.fence)
    after = replace(copy.content.after(replace(change, fence=fence)), lock=held)
    small = copy.steps < FOLD and len(change.journal) < LARGE and not change.anew
    if remote.appends and small:
        step, after = encode_step(after, copy.content.seal, change)
        step, after = _closed(step, _STEP, after, copy.keys, remote.name)
        remote.appends.append(after, step, held)
        return replace(copy, content=after, steps=copy.steps + 1)
    return _whole(remote, copy, after, held, "" if change.anew else copy.content.seal)


def fold(remote: Remote, copy: Copy, held: Held) -> Copy:
    """Write the whole document if steps were appended since, so that the next one reads little."""
    if not copy.steps:
        return copy
    after = replace(copy.content, revision=copy.content.revision + 1)
    return _whole(remote, copy, after, held, copy.content.seal)


def demand_no_steps(remote: Remote) -> None:
    """Raise StateError where steps that the document holds could not be dropped."""
    if remote.appends and remote.read().steps:
        raise StateError.of(
            "state-steps-left",
            f"{remote.name}: steps that hold what was written before could not be removed",
            detail="The state itself is rewritten.",
            hint="Run it again.",
        )


def _whole(remote: Remote, copy: Copy, after: Content, held: Held, follows: str) -> Copy:
    document, after = encode(after, follows)
    document, after = _closed(document, _STATE, after, copy.keys, remote.name)
    return replace(copy, content=after, tag=remote.write(copy, after, document, held), steps=0)


def _closed(text: bytes, what: str, after: Content, keys: Keys, name: str) -> tuple[bytes, Content]:
    """Return a text as it is stored, and the content that it makes with the seal that has."""
    if not after.key:
        return text, after
    who = replace(after.identity(), serial=after.revision)
    stored = b"".join(envelope.closed([text], what, who, keys, name))
    return stored, replace(after, seal=told_digest(stored) or "")
