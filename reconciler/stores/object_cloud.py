"""Objects in a cloud: S3, Google Cloud Storage and Azure by way of obstore."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from reconciler.errors import ConfigError, StateError
from reconciler.stores.object_place import Changed

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CLOCK: Final = "clock"
_LIMITS: Final[Any] = {"connect_timeout": "5s", "timeout": "60s"}
_RETRIES: Final[Any] = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}


def opened(url: str, **config: Any) -> ObjectStore:
    """Return the store behind a URL, with the credentials of the cloud's usual environment.

    `config` are obstore's own settings. Raises ConfigError.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError:
        raise ConfigError.of(
            "no-obstore",
            f"the state at {urlsplit(url).scheme}:// needs a package that is not installed",
            hint="run: pip install 'im-reconciler[object]'",
        ) from None
    try:
        return from_url(url, client_options=_LIMITS, retry_config=_RETRIES, **config)
    except (BaseError, ValueError, TypeError) as problem:
        raise ConfigError.of(
            "bad-url", "the url of the state cannot be used", detail=f"{_words(problem)}."
        ) from None


class CloudObjects:
    """Implements `Objects` on a store of obstore."""

    def __init__(self, store: ObjectStore, clock: Callable[[], float] = time.time) -> None:
        import obstore

        self._obstore: Any = obstore
        self._store = store
        self._clock = clock

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Return an object and its tag, None if there is none."""
        with _told(name):
            try:
                found = self._obstore.get(self._store, name)
                return bytes(found.bytes()), _tag(found.meta)
            except FileNotFoundError:
                return None

    def tag(self, name: str) -> str:
        """Return the tag of an object, empty if there is none."""
        with _told(name):
            try:
                return _tag(self._obstore.head(self._store, name))
            except FileNotFoundError:
                return ""

    def put(self, name: str, data: bytes, tag: str) -> str:
        """Replace the object with this tag, or make one that is not there."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with _told(name):
            try:
                put = self._obstore.put(
                    self._store,
                    name,
                    data,
                    mode=_condition(tag),
                    use_multipart=False,
                )
                return _tag(put)
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                raise Changed from None

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects beneath a prefix, sorted."""
        with _told(prefix):
            found = self._obstore.list(self._store, prefix.rstrip("/")).collect()
            return sorted(str(one["path"]) for one in found)

    def drop(self, names: Iterable[str]) -> None:
        """Remove objects; one that is not there is fine."""
        # What is left behind where one was gone already is dropped with the next.
        if gone := list(names):
            with _told(gone[0]), suppress(FileNotFoundError):
                self._obstore.delete(self._store, gone)

    def skew(self) -> float:
        """Return the seconds that the store's clock is ahead, by the time of a new object."""
        with _told(_CLOCK):
            before = self._clock()
            self._obstore.put(self._store, _CLOCK, b"", use_multipart=False)
            there = self._obstore.head(self._store, _CLOCK)["last_modified"].timestamp()
        skew: float = there - before
        # Stores count whole seconds, and the request took its time.
        return skew if abs(skew) > 2 else 0.0

    def close(self) -> None:
        """Do nothing: connections end with the store."""


def _tag(about: Mapping[str, Any]) -> str:
    """Return the tag of an object; S3 and Azure go by the first part, Google by the second."""
    return f"{about['e_tag'] or ''} {about['version'] or ''}"


def _condition(tag: str) -> Any:
    """Return what obstore calls the mode of a write: over this tag, or where there is nothing."""
    if not tag:
        return "create"
    etag, _, version = tag.rpartition(" ")
    return {name: part for name, part in (("e_tag", etag), ("version", version)) if part}


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn what obstore raises into StateErrors without what may stand in a signed address."""
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except (BaseError, OSError, NotImplementedError, ValueError) as problem:
        refused = isinstance(problem, UnauthenticatedError | PermissionDeniedError)
        why = "the credentials do not allow it" if refused else _words(problem)
        raise StateError.of(
            "state-io",
            f"the object {name} of the state cannot be used: {why}",
            hint="Check the cloud's credentials and address in the environment."
            if refused
            else "Nothing that was acknowledged is lost; repair the cause and run again.",
        ) from None


def _words(problem: BaseException) -> str:
    """Return the first line of a message, without queries: Azure keeps signatures in them."""
    first = str(problem).strip().partition("\n")[0] or type(problem).__name__
    return re.sub(r"\?\S+", "?…", first)[:300].rstrip(".")
