"""Parts: pieces of a value that was read, with their places, cut out and laid over each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.config.built import Built
from reconciler.config.scalars import FLAGS, INTEGER, Quoted, is_null

Path = tuple[Any, ...]


def part(built: Built, *path: Any) -> Built:
    """Return what stands beneath a path, with places by the rest of theirs."""
    value = built.value
    for name in path:
        value = value[name]
    depth = len(path)

    def cut(places: Mapping[Path, tuple[int, int]]) -> dict[Path, tuple[int, int]]:
        return {where[depth:]: at for where, at in places.items() if where[:depth] == path}

    return Built(value, cut(built.keys), cut(built.values))


def parts(built: Built) -> dict[Any, Built]:
    """Return the parts of a mapping by key, all of them in one go."""
    made = {key: Built(value, {}, {}) for key, value in built.value.items()}
    for where, at in built.keys.items():
        if len(where) > 1 and where[0] in made:
            made[where[0]].keys[where[1:]] = at
    for where, at in built.values.items():
        if where and where[0] in made:
            made[where[0]].values[where[1:]] = at
    return made


def patched(under: Built, patch: Built) -> Built:
    """Return a value with a merge patch over it (RFC 7396): mappings key by key, null takes away.

    Every part has the place that it was written at last.
    """
    value = _merged(under.value, patch.value)
    return Built(value, {**under.keys, **patch.keys}, {**under.values, **patch.values})


def _merged(under: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(under) if isinstance(under, dict) else {}
    for key, value in patch.items():
        if is_null(value):
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def plain(value: Any) -> Any:
    """Return what a value means where no field says so: plain true, 1 and null are no texts."""
    match value:
        case dict():
            return {key: plain(inner) for key, inner in value.items()}
        case list():
            return [plain(inner) for inner in value]
        case Quoted():
            return str(value)
    if is_null(value):
        return None
    if value in FLAGS:
        return FLAGS[value]
    return int(value) if INTEGER.fullmatch(value) else value
