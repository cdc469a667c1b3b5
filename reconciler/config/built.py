"""Built: a value that was read, with the places of all its parts."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

Place: TypeAlias = tuple[int, int]
"""Line and column, from 1."""

KEYED: Final = frozenset({"unknown-key", "unsupported-field", "bad-key", "duplicate-key"})
"""Kinds of finding that are about a key, not about its value."""


class Built(NamedTuple):
    """A value with the places of its keys and values, by path; lines and columns from 1."""

    value: Any
    keys: dict[tuple[Any, ...], tuple[int, int]]
    values: dict[tuple[Any, ...], tuple[int, int]]

    def place(self, path: tuple[Any, ...], id: str = "") -> tuple[int, int] | None:
        """Return the place of the value at a path, or of the nearest one around it.

        A finding of a kind that is about keys (`id`) is placed at the key.
        """
        while path not in self.values:
            if not path:
                return None
            path = path[:-1]
        return self.keys.get(path, self.values[path]) if id in KEYED else self.values[path]
