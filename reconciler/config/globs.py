"""Globs: which files hold accounts, and what each entry says about all accounts of its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from reconciler.config.built import Built
from reconciler.config.files import WORKSPACE, leaves
from reconciler.diagnostics import Source
from reconciler.workspace import Glob, Places

Tell = Callable[..., None]
DEFAULT: Final = "accounts/**/*.yaml"


def globs(built: Built, tell: Tell) -> tuple[Glob, ...]:
    """Return the entries of `accounts` in their order; what the schema refuses is left out."""
    if "accounts" not in built.value:
        return (Glob(DEFAULT),)
    return tuple(
        glob
        for position, entry in enumerate(_list(built.value["accounts"]))
        if (glob := _glob(entry, ("accounts", position), built, tell))
    )


def _glob(entry: Any, path: tuple[Any, ...], built: Built, tell: Tell) -> Glob | None:
    settings = entry if isinstance(entry, dict) else {"files": entry}
    pattern = settings.get("files")
    if not isinstance(pattern, str):
        return None
    _check(pattern, (*path, "files") if settings is entry else path, tell)
    defaults = _mapping(settings.get("defaults"))
    keys, values = _beneath(built, (*path, "defaults"))
    if "adopt" in settings:
        if "adopt" in defaults:
            tell(
                (*path, "adopt"),
                "duplicate-key",
                "adopt stands here and in defaults.",
                "keep one of them",
            )
        defaults = {"adopt": settings["adopt"], **defaults}
        keys = {("adopt",): built.keys[*path, "adopt"], **keys}
        values = {("adopt",): built.values[*path, "adopt"], **values}
    source = Source(WORKSPACE, *(built.place(path) or (0, 0)))
    return Glob(pattern, defaults, keys, values, source)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _check(pattern: str, path: tuple[Any, ...], tell: Tell) -> None:
    if leaves(pattern):
        tell(
            path,
            "outside",
            f"The glob {pattern[:80]} leaves the workspace.",
            "write a path beneath the workspace, with /",
        )
    elif any("**" in part and part != "**" for part in PurePosixPath(pattern).parts):
        tell(
            path,
            "bad-glob",
            "** stands beside other characters.",
            "write ** as a whole part of the path: accounts/**/*.yaml",
        )


def _beneath(built: Built, path: tuple[Any, ...]) -> tuple[Places, Places]:
    """Return the places of what stands beneath a path, by the rest of their paths."""

    def cut(places: Mapping[tuple[Any, ...], tuple[int, int]]) -> Places:
        depth = len(path)
        return {where[depth:]: at for where, at in places.items() if where[:depth] == path}

    return cut(built.keys), cut(built.values)
