"""Globs: which files hold accounts, and what each entry says about all accounts of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from reconciler.config.built import Built, Place
from reconciler.config.files import WORKSPACE, leaves
from reconciler.config.report import Path
from reconciler.diagnostics import Source
from reconciler.workspace import Glob

Tell = Callable[..., None]
DEFAULT: Final = "accounts/**/*.yaml"


def globs(built: Built, tell: Tell) -> tuple[Glob, ...]:
    """Return the entries of `accounts` and `accounts_from`; what the schema refuses is left out."""
    written = built.value
    sheets = list(_entries(built, "accounts_from", tell))
    if "accounts" in written:
        return (*_entries(built, "accounts", tell), *sheets)
    return (Glob(DEFAULT, needed="accounts_from" not in written), *sheets)


def _entries(built: Built, section: str, tell: Tell) -> Iterator[Glob]:
    written = built.value.get(section)
    for position, entry in enumerate(written if isinstance(written, list) else ()):
        settings = entry if isinstance(entry, dict) else {"files": entry}
        key = "bans" if section == "accounts_from" else "files"
        pattern = settings.get(key)
        if not isinstance(pattern, str):
            continue
        path = (section, position)
        _check(pattern, (*path, key) if settings is entry else path, tell)
        made = _settings(settings, path, built, tell)
        source = Source(WORKSPACE, *(built.place(path) or (0, 0)))
        if key == "bans":
            # What a sheet lists was registered by the app's own server.
            made = made._replace(value={"adopt": "true", **made.value})
        yield Glob(str(pattern), *made, source, bans=key == "bans")


def _settings(settings: dict[str, Any], path: Path, built: Built, tell: Tell) -> Built:
    """Return the defaults of an entry, with those that it writes beside them."""
    written = settings.get("defaults")
    defaults = dict(written) if isinstance(written, dict) else {}
    keys, values = (_beneath(places, (*path, "defaults")) for places in (built.keys, built.values))
    for name in ("adopt", "provider"):
        if name not in settings:
            continue
        if name in defaults:
            tell(
                (*path, name),
                "duplicate-key",
                f"{name} stands here and in defaults.",
                "keep one of them",
            )
        defaults[name] = settings[name]
        keys |= {(name, *rest): at for rest, at in _beneath(built.keys, (*path, name)).items()}
        values |= {(name, *rest): at for rest, at in _beneath(built.values, (*path, name)).items()}
    return Built(defaults, keys, values)


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


def _beneath(places: Mapping[Path, Place], path: Path) -> dict[Path, Place]:
    """Return the places of what stands at a path and beneath it, by the rest of their paths."""
    depth = len(path)
    return {where[depth:]: at for where, at in places.items() if where[:depth] == path}
