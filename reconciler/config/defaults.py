"""Defaults: what lies beneath the accounts of a file: its own, and those of the globs it is of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from reconciler.config.built import Built
from reconciler.config.files import WORKSPACE
from reconciler.config.report import Path, Raw
from reconciler.diagnostics import Source
from reconciler.workspace import Glob

SECTIONS: Final = ("profile", "configuration", "labels", "manage")
"""What is merged field by field; all else is taken as a whole."""


def over(under: Raw, upper: Raw) -> Raw:
    """Return what is written in `upper`, and beneath it what is only in `under`."""
    merged = {**under, **upper}
    for section in SECTIONS:
        above, below = upper.get(section), under.get(section)
        if isinstance(above, dict) and isinstance(below, dict):
            merged[section] = {**below, **above}
    return merged


def beneath(globs: Iterable[Glob]) -> Raw:
    """Return the defaults of all globs of a file, a later one over an earlier one."""
    merged: Raw = {}
    for glob in globs:
        merged = over(merged, dict(glob.defaults))
    return merged


class Layer(NamedTuple):
    """Something that may hold a field of an account, and the file that it stands in."""

    file: str
    built: Built


def layers(globs: Iterable[Glob]) -> tuple[Layer, ...]:
    """Return the defaults of the globs as layers, the uppermost first."""
    return tuple(
        Layer(WORKSPACE, Built(dict(one.defaults), dict(one.keys), dict(one.values)))
        for one in reversed(tuple(globs))
    )


def located(path: Path, id: str, layers: Iterable[Layer]) -> Source | None:
    """Return the place of a field: of the uppermost layer that has it, or what is around it."""
    layers = tuple(layers)
    for file, built in layers:
        if path in built.keys or path in built.values:
            return _at(file, built.place(path, id))
    for file, built in layers:
        if path[0] in built.value:
            return _at(file, built.place(path))
    return None


def _at(file: str, found: tuple[int, int] | None) -> Source:
    return Source(file, *(found or (1, 1)))
