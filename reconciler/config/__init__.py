"""Configuration: reading what users write; nothing heavy is imported before it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.capabilities import Capabilities
from reconciler.diagnostics import Diagnostic
from reconciler.workspace import Workspace

if TYPE_CHECKING:
    from reconciler.config.stream import Desired

__all__ = ["desired", "forget", "load", "schema_names", "schema_text"]


def load(root: Path, *, capabilities: Callable[[str], Capabilities | None]) -> Workspace:
    """Read `reconciler.yaml` beneath `root`; `capabilities` returns a vendor's table by type.

    Raises ConfigError with all findings at once.
    """
    from reconciler.config.workspace import load as _load

    return _load(root, capabilities)


def desired(
    workspace: Workspace,
    capabilities: Mapping[str, Capabilities],
    warnings: list[Diagnostic],
    moment: datetime | None = None,
    cache: Mapping[str, str] | None = None,
) -> Desired:
    """Stream the desired accounts, one per account and provider, in the order of the files.

    `capabilities` is keyed by provider name. What only warns is appended to `warnings`. When
    exhausted, raises ConfigError with the findings of all files, or Refused for a glob that
    matches nothing. Close it when it is not needed any more: other processes may help to read.

    A `moment` is given by who validates: bans are judged from it on. A plan judges them itself, as
    it knows which ones are new. With `cache`, the environment that names the user's cache folder,
    files that were read before are not read again; their accounts have no documents, until `again`
    is asked for them.
    """
    from reconciler.config.stream import Desired

    known = None
    if cache is not None:
        from reconciler.config.known import Known, place

        known = Known(folder, workspace) if (folder := place(workspace, cache)) else None
    return Desired(workspace, capabilities, warnings, moment, known)


def forget(workspace: Workspace, environ: Mapping[str, str]) -> None:
    """Remove what is known of the workspace's files. Raises OSError."""
    from reconciler.config.known import place, remove

    if folder := place(workspace, environ):
        remove(folder)


def schema_names() -> tuple[str, ...]:
    """Return the names of the JSON Schemas."""
    from reconciler.config.schema import NAMES

    return NAMES


def schema_text(name: str) -> str:
    """Return the text of a JSON Schema. Raises KeyError for an unknown name."""
    from reconciler.config.schema import text

    return text(name)
