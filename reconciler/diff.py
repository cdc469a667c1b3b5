"""Diff: which fields differ between two flat accounts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.values import ABSENT, canonical, is_erased, was

_EXTENSION = "profile.extension"


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield path, before and after of every field that differs, sorted by path.

    A side that lacks the field has `ABSENT`. The difference of a value with itself is empty.
    """
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path, ABSENT), after.get(path, ABSENT)
        if old is ABSENT or new is ABSENT or not same(path, old, new):
            yield path, old, new


def same(path: str, old: Any, new: Any) -> bool:
    """Tell whether two values of a field mean the same.

    `1`, `1.0` and `True` are three values. An extension that is JSON is compared by meaning, not
    by spacing or key order. An erased value is the same as the one that it was.
    """
    if isinstance(old, str | int | float | None) and isinstance(new, str | int | float | None):
        if type(old) is type(new) and old == new:
            return True
        if is_erased(old) or is_erased(new):
            return _was(path, old, new)
        return path == _EXTENSION and _same_json(old, new)
    if is_erased(old) or is_erased(new):
        return _was(path, old, new)
    return _same_tree(old, new)


def meaning(path: str, value: Any) -> Any:
    """Return the value that is digested where one is erased: of an extension what it means."""
    if path == _EXTENSION:
        try:
            tree = json.loads(value)
            return canonical(tree).decode() if isinstance(tree, dict | list) else value
        except (TypeError, ValueError, RecursionError):
            return value
    return value


def _was(path: str, one: Any, other: Any) -> bool:
    mark, value = (one, other) if is_erased(one) else (other, one)
    return not is_erased(value) and was(mark, meaning(path, value))


def _same_json(old: Any, new: Any) -> bool:
    try:
        left, right = json.loads(old), json.loads(new)
    except (TypeError, ValueError, RecursionError):
        return False
    trees = isinstance(left, dict | list) and isinstance(right, dict | list)
    try:
        return trees and _same_tree(left, right)
    except RecursionError:
        return False


def _same_tree(old: Any, new: Any) -> bool:
    from deepdiff import DeepDiff

    # The threshold is off because deepdiff otherwise sums up unlike mappings as one root change;
    # keys that begin with two underscores are data here, not private variables.
    return not DeepDiff(old, new, threshold_to_diff_deeper=0, ignore_private_variables=False)
