"""Workspace: `reconciler.yaml`, read strictly and checked as a whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from reconciler.capabilities import Capabilities
from reconciler.config.apps import app
from reconciler.config.built import Built
from reconciler.config.careful import misplaced, suspects
from reconciler.config.close import close
from reconciler.config.events import Reader, Stop
from reconciler.config.files import WORKSPACE, Unreadable, leaves, opened
from reconciler.config.globs import globs
from reconciler.config.libyaml import syntax, yaml_events
from reconciler.config.references import is_reference, reference
from reconciler.config.rules import rules
from reconciler.config.scalars import Wrong, span
from reconciler.config.schema import faults, typed
from reconciler.diagnostics import Diagnostic, Source, error
from reconciler.errors import ConfigError
from reconciler.values import Reference
from reconciler.workspace import (
    DEFAULT_LIMITS,
    SIGNED,
    BanReason,
    Encryption,
    Limit,
    SecretSettings,
    StateSettings,
    Webhook,
    Workspace,
)

Tell = Callable[..., None]
Path_ = tuple[Any, ...]
_KEYS: Mapping[str, frozenset[str]] = {
    "sqlite": frozenset({"path"}),
    "postgres": frozenset({"url", "schema"}),
    "http": frozenset(
        {
            "address",
            "update_method",
            "lock_address",
            "lock_method",
            "unlock_address",
            "unlock_method",
            "username",
            "password",
            "allow_http",
            "ca_file",
        }
    ),
    "object": frozenset({"url"}),
}
_NEEDED: Mapping[str, str] = {"postgres": "url", "object": "url"}
_OBJECT = ("s3://", "gs://", "az://", "file://")
LARGEST: Final = 4 << 20
"""Bytes of the largest workspace file that is read."""

KEYS: Final = 100
"""Keys of the workspace file that are read; there are about ten that it may have."""

_PASSWORD = re.compile(r"://[^/@]*:[^/@]*@|[?&]password=", re.IGNORECASE)


def load(root: Path, capabilities: Callable[[str], Capabilities | None]) -> Workspace:
    """Read the workspace beneath `root`; raises ConfigError with all findings."""
    findings: list[Diagnostic] = []
    built = read(root, findings)
    wrong: set[Path_] = set()

    def tell(path: Path_, id: str, summary: str, hint: str = "", detail: str = "") -> None:
        # What the schema refuses is told once; so is a key that is missing.
        if wrong.isdisjoint(path[:depth] for depth in range(len(path) + 1)):
            line, column = built.place(path, id) or (1, 1)
            findings.append(
                error(id, summary, hint=hint, detail=detail, source=Source(WORKSPACE, line, column))
            )

    value = typed(built.value, "workspace")
    told = set()
    for path, id, summary, hint in faults(value, "workspace"):
        tell(path, id, summary, hint)
        if id != "bad-form":
            told.add(path)
    wrong |= told
    workspace = _workspace(root, sound(value, told), built, capabilities, tell)
    if findings:
        raise ConfigError(findings)
    return workspace


def read(root: Path, findings: list[Diagnostic]) -> Built:
    """Return the whole workspace file with its places. Raises ConfigError if it cannot be read."""
    path = root / WORKSPACE
    if not path.exists() and not path.is_symlink():
        raise ConfigError.of(
            "no-workspace",
            f"There is no {WORKSPACE} in {root}.",
            hint="run reconciler init, or pass --chdir DIR",
        )
    return whole(path, WORKSPACE, findings)


def whole(path: Path, name: str, findings: list[Diagnostic]) -> Built:
    """Return a small YAML file as a whole, called `name` in findings, with its places.

    Raises ConfigError where it cannot be read; what can be read over is appended to `findings`.
    """
    value: dict[str, Any] = {}
    whole = Built(value, {}, {(): (1, 1)})
    try:
        with opened(path, name, LARGEST) as stream:
            found = suspects(stream, name, findings)
            if findings:
                raise ConfigError(findings)
            stream.seek(0)
            reader = Reader(yaml_events(stream, name), name, findings, found)
            try:
                for key, first in reader.top():
                    if len(value) > KEYS:
                        break
                    _join(whole, key.value, reader, reader.build(reader.node(first)), key)
            except yaml.YAMLError as wrong:
                stream.seek(0)
                raise ConfigError([*findings, syntax(wrong, name, stream.read())]) from None
            findings.extend(misplaced(found, name))
    except Stop as stop:
        raise ConfigError([*findings, stop.finding]) from None
    except Unreadable as unreadable:
        raise ConfigError(unreadable.finding) from None
    return whole


def _join(whole: Built, name: str, reader: Reader, part: Built, key: yaml.ScalarEvent) -> None:
    whole.value[name] = part.value
    at = reader.at(key)
    whole.keys[name,] = (at.line, at.column)
    whole.keys.update({(name, *path): place for path, place in part.keys.items()})
    whole.values.update({(name, *path): place for path, place in part.values.items()})


def sound(value: Any, wrong: set[Path_]) -> dict[str, Any]:
    """Return the value without the parts that the schema refuses."""

    def prune(part: Any, path: Path_) -> Any:
        if isinstance(part, dict):
            return {
                key: prune(inner, (*path, key))
                for key, inner in part.items()
                if (*path, key) not in wrong
            }
        if isinstance(part, list):
            return [
                prune(inner, (*path, n)) for n, inner in enumerate(part) if (*path, n) not in wrong
            ]
        return part

    pruned: dict[str, Any] = prune(value, ()) if isinstance(value, dict) else {}
    return pruned


def _workspace(
    root: Path,
    value: dict[str, Any],
    built: Built,
    capabilities: Callable[[str], Capabilities | None],
    tell: Tell,
) -> Workspace:
    apps = {}
    for name, settings in (value.get("providers") or {}).items():
        if isinstance(settings, dict) and (made := app(name, settings, capabilities, tell)):
            line, column = built.place(("providers", name)) or (0, 0)
            apps[name] = replace(made, source=Source(WORKSPACE, line, column))
    return Workspace(
        name=str(value.get("workspace", "")),
        root=str(root.resolve()),
        apps=apps,
        accounts=globs(built, tell),
        state=_state(value.get("state") or {}, built, tell),
        secrets=_secrets(value.get("secrets") or {}, tell),
        on_absent=value.get("on_absent", "forget"),
        limits=_limits(value.get("limits") or {}),
        rules=tuple(rules(value.get("rules") or [], built, tell)),
        notify=tuple(_webhooks(value.get("notify") or [], tell)),
        ban_reasons=_reasons(value.get("ban_reasons") or {}),
        lint=value.get("lint") or {},
    )


def _webhooks(value: list[Any], tell: Tell) -> Iterator[Webhook]:
    for position, written in enumerate(value):
        path = ("notify", position)
        if not isinstance(written, dict):
            continue
        url, secret = (
            _referred(written.get(key), (*path, key), what, _TELLS, tell)
            for key, what in (
                ("webhook", "The address of a webhook"),
                ("secret", "The secret of a robot"),
            )
        )
        format = str(written.get("format", ""))
        if secret is not None and format not in SIGNED:
            tell(
                (*path, "secret"),
                "unused-secret",
                f"Only robots of {' and '.join(SIGNED)} are told with a signature.",
                f"write format: {SIGNED[0]} or {SIGNED[1]} beside it, or remove it",
            )
        if url is not None:
            yield Webhook(url, format, written.get("when") == "always", secret)


_TELLS: Final = "whoever knows it can write there: write a reference: env:NAME"
_MADE_ANEW: Final = "write a reference: env:NAME; and make a new key, as this one was seen"


def _referred(text: Any, path: Path_, what: str, hint: str, tell: Tell) -> Reference | None:
    """Return the reference that is written there; one that is a secret itself is told."""
    if not isinstance(text, str):
        return None
    if is_reference(text):
        return _secret(text, path, tell)
    tell(path, "literal-secret", f"{what} is written out here.", hint)
    return None


def _secret(text: str, path: Path_, tell: Tell) -> Reference | None:
    try:
        return reference(text)
    except Wrong as wrong:
        tell(path, wrong.id, wrong.summary, wrong.hint)
        return None


def _state(value: dict[str, Any], built: Built, tell: Tell) -> StateSettings:
    backend = str(value.get("backend", "sqlite"))
    allowed = _KEYS.get(backend, frozenset())
    for key in value.keys() - allowed - {"backend", "ephemeral", "encryption"}:
        tell(
            ("state", key),
            "unknown-key",
            f"The backend {backend} has no setting {key}.",
            close(key, allowed),
        )
    needed = _NEEDED.get(backend)
    if needed and needed not in value:
        tell(
            ("state",),
            "missing-key",
            f"The backend {backend} needs {needed}.",
            f"add {needed}: here",
        )
    options: dict[str, Any] = {}
    for key, text in value.items():
        if key not in allowed or key == "path":
            continue
        options[key] = text
        if not isinstance(text, str):
            continue
        local = backend == "object" and key == "url"
        if is_reference(text) and not (local and text.startswith("file://")):
            options[key] = _secret(text, ("state", key), tell)
        elif key == "password" or _PASSWORD.search(text):
            tell(
                ("state", key),
                "literal-secret",
                "A password is written out here.",
                "write a reference: env:NAME",
            )
        elif local and not text.startswith(_OBJECT):
            tell(
                ("state", key),
                "bad-url",
                "This is no address of an object store.",
                f"begin with {', '.join(_OBJECT)}",
            )
    return StateSettings(
        backend,
        str(value.get("path", ".reconciler/state.db")),
        bool(value.get("ephemeral", False)),
        options,
        _encryption(value.get("encryption"), built, tell),
    )


def _encryption(value: Any, built: Built, tell: Tell) -> Encryption | None:
    if not isinstance(value, dict):
        return None
    path = ("state", "encryption")
    keys = [
        _referred(one, (*path, "previous", n), "A key", _MADE_ANEW, tell)
        for n, one in enumerate(value.get("previous") or [])
    ]
    if "key" not in value and not keys:
        tell(path, "missing-key", "Encryption needs a key.", "add key: env:NAME here")
    line, column = built.place(path) or (0, 0)
    return Encryption(
        _referred(value.get("key"), (*path, "key"), "A key", _MADE_ANEW, tell),
        tuple(key for key in keys if key is not None),
        Source(WORKSPACE, line, column),
    )


def _secrets(value: dict[str, Any], tell: Tell) -> SecretSettings:
    allow = tuple(one for one in value.get("allow") or [] if isinstance(one, str))
    for position, glob in enumerate(allow):
        if glob.startswith("file:") and leaves(glob[5:]):
            tell(
                ("secrets", "allow", position),
                "outside",
                f"{glob[:80]} leaves the workspace.",
                "write a path beneath the workspace",
            )
    key = value.get("fingerprint_key")
    made = _secret(key, ("secrets", "fingerprint_key"), tell) if isinstance(key, str) else None
    return SecretSettings(allow, made)


def _limits(value: dict[str, Any]) -> dict[str, Limit]:
    limits = dict(DEFAULT_LIMITS)
    for kind, written in value.items():
        if isinstance(written, dict) and kind in limits:
            limits[kind] = replace(limits[kind], **written)
    return limits


def _reasons(value: dict[str, Any]) -> dict[str, BanReason]:
    return {
        name: BanReason(name, span(written.get("max", "")))
        for name, written in value.items()
        if isinstance(written, dict)
    }
