"""State in object storage: a document, small steps appended to it, and the lock, all conditional.

`state.json` is the document, replaced only where its tag is the one that was read. What is
written since lies in `steps/REVISION.json`, each made only where there is none, so that of two
writers one is refused. `lock.json` stays there also when nobody holds it: to give a lock up is a
conditional write as well, because stores cannot delete conditionally, and it keeps the fence and
the newest revision, by which a reading that lags is found out before anything is built on it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from reconciler.errors import ConfigError, StateError
from reconciler.stores.held import Held
from reconciler.stores.object_place import Changed, Objects
from reconciler.stores.remote_content import Content, corrupt
from reconciler.stores.remote_copy import Copy, Found, Moved
from reconciler.values import canonical, loads

_STATE: Final = "state.json"
_LOCK: Final = "lock.json"
_STEPS: Final = "steps/"
_REVISION: Final = "revision"
_TRIES: Final = 5


def objects(url: str) -> Objects:
    """Return the place that a URL names. Raises ConfigError for one that cannot be used."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        from reconciler.stores.object_cloud import CloudObjects, opened

        return CloudObjects(opened(url))
    from reconciler.stores.object_folder import FolderObjects

    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ConfigError.of(
            "bad-url", f"{url} names no folder of this machine", hint="write file:///path"
        )
    return FolderObjects(Path(unquote(parts.path)))


class ObjectRemote:
    """Implements `Remote` with all its parts on a place for objects.

    `clock` is in seconds since 1970.
    """

    def __init__(self, url: str, place: Objects, *, clock: Callable[[], float] = time.time) -> None:
        self.name = url.partition("?")[0]
        self.appends = self.leases = self
        self._objects = place
        self._clock = clock
        self._skew = 0.0
        self._newest = 0

    def now(self) -> float:
        """Return seconds since 1970 by the store's clock, once a lock was asked for."""
        return self._clock() + self._skew

    def read(self) -> Found:
        """Return the document and the steps behind it, as of one moment."""
        for _ in range(_TRIES):
            found = self._objects.get(_STATE)
            document, tag = found or (None, "")
            steps = [
                (_revision(name), got[0])
                for name in self._objects.names(_STEPS)
                if (got := self._objects.get(name)) is not None
            ]
            # Steps are dropped once a document holds them, and only then.
            if self._objects.tag(_STATE) == tag:
                return Found(document, tag, tuple(sorted(steps)))
        raise StateError.of(
            "state-busy",
            f"{self.name}: the state is being written faster than it can be read",
            hint="Run again.",
        )

    def prove(self) -> None:
        """Try whether conditions of writes are kept. Raises StateError if one is not."""
        name = f"trial-{uuid.uuid4()}.json"
        try:
            tag = self._objects.put(name, b"1", "")
            newer = self._objects.put(name, b"22", tag)
            for stale in ("", tag):
                with suppress(Changed):
                    self._objects.put(name, b"333", stale)
                    raise self._unconditional()
            if self._objects.get(name) != (b"22", newer):
                raise self._unconditional()
        except Changed:
            raise self._unconditional() from None
        finally:
            with suppress(StateError):
                self._objects.drop([name])

    def write(self, copy: Copy, after: Content, document: bytes, held: Held) -> str:
        """Replace the document where nobody else has, and drop the steps that it holds."""
        self._demand(held)
        self._demand_newest(after)
        try:
            tag = self._objects.put(_STATE, document, copy.tag)
        except Changed:
            found = self._objects.get(_STATE)
            if found is None or found[0] != document:
                raise Moved from None
            tag = found[1]
        self._newest = after.revision
        with suppress(StateError):
            names = self._objects.names(_STEPS)
            self._objects.drop([name for name in names if _revision(name) <= after.revision])
        return tag

    def append(self, after: Content, step: bytes, held: Held) -> None:
        """Make the step where there is none of its revision, then look that the lock was ours.

        Whoever takes the lock away does that first and reads then, so a step that was made before
        is seen by them: it is told as lost here, and what it says is in doubt there.
        """
        self._demand_newest(after)
        name = f"{_STEPS}{after.revision:012d}.json"
        try:
            self._objects.put(name, step, "")
        except Changed:
            found = self._objects.get(name)
            if found is None or found[0] != step:
                raise Moved from None
        self._newest = after.revision
        self._demand(held)

    def holder(self) -> Held | None:
        """Return who has the lock, None if nobody has."""
        held, _ = self._lock()
        return held if held.id else None

    def take(self, mine: Held) -> Held:
        """Take the lock if it is free, under the next fence."""
        self._skew = self._objects.skew()
        for _ in range(_TRIES):
            held, tag = self._lock()
            if held.id:
                return held
            ahead = self.now() - mine.acquired
            ours = replace(
                mine,
                acquired=mine.acquired + ahead,
                expires=mine.expires + ahead,
                fence=held.fence + 1,
            )
            if self._replaced(ours, tag):
                return ours
        raise corrupt(self.name, "the lock is neither free nor held")

    def renew(self, before: Held, after: Held) -> None:
        """Prolong the lease where the lock is still ours."""
        held, tag = self._lock()
        if (held.id, held.expires) != (before.id, before.expires) or not self._replaced(after, tag):
            raise Moved

    def free(self, held: Held, fence: int) -> bool:
        """Give up the lock, keeping the fence; one that was renewed meanwhile stays."""
        found, tag = self._lock()
        if (found.id, found.expires) != (held.id, held.expires):
            return False
        return self._replaced(Held(fence=max(fence, found.fence)), tag)

    def close(self) -> None:
        """Release connections."""
        self._objects.close()

    def _lock(self) -> tuple[Held, str]:
        found = self._objects.get(_LOCK)
        if found is None:
            return Held(), ""
        try:
            shape: Any = loads(found[0])
            self._newest = max(self._newest, int(shape.pop(_REVISION, 0)))
            return Held(**shape), found[1]
        except (ValueError, TypeError) as problem:
            raise corrupt(f"{self.name}: lock", f"{problem}") from None

    def _replaced(self, held: Held, tag: str) -> bool:
        """Replace the lock; tell whether it is this one now."""
        data = canonical({**held.shape(), _REVISION: self._newest})
        try:
            self._objects.put(_LOCK, data, tag)
        except Changed:
            # A repeated write is refused for what it did itself.
            found = self._objects.get(_LOCK)
            return found is not None and found[0] == data and bool(held.id)
        return True

    def _demand(self, held: Held) -> None:
        found, _ = self._lock()
        if found.id != held.id:
            raise Moved

    def _demand_newest(self, after: Content) -> None:
        """Raise StateError for what was made from an older reading than was written already."""
        if after.revision <= self._newest:
            raise StateError.of(
                "state-stale",
                f"{self.name}: the store gave revision {after.revision - 1} of the state to read,"
                f" and {self._newest} was written already",
                hint="Run again; a store whose readings lag is not one to keep state in.",
            )

    def _unconditional(self) -> Exception:
        return StateError.of(
            "state-unconditional",
            f"{self.name}: this store does not keep the conditions of writes, so two runs could"
            " overwrite each other",
            hint="Use a store with conditional writes (If-Match, If-None-Match), or the backend"
            " postgres or http.",
        )


def _revision(name: str) -> int:
    number = name.removeprefix(_STEPS).removesuffix(".json")
    return int(number) if number.isdecimal() else 0
