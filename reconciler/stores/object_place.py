"""Place: what object storage must do for state, whichever it is: conditional writes by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Changed(Exception):
    """The object is not as the condition of a write says."""


class Objects(Protocol):
    """A place for objects by name; every failure but `Changed` is a StateError for a person."""

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Return an object and its tag, None if there is none."""
        ...

    def tag(self, name: str) -> str:
        """Return the tag of an object, empty if there is none."""
        ...

    def put(self, name: str, data: bytes, tag: str) -> str:
        """Replace the object with this tag, or make one that is not there; return its tag.

        Raises Changed, perhaps also where this very write took effect and was repeated.
        """
        ...

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects beneath a prefix, sorted."""
        ...

    def drop(self, names: Iterable[str]) -> None:
        """Remove objects; one that is not there is fine."""
        ...

    def skew(self) -> float:
        """Return the seconds that the store's clock is ahead of ours."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
