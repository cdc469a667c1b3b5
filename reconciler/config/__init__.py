"""Configuration: reading what users write; nothing heavy is imported before it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.capabilities import Capabilities
from reconciler.diagnostics import Diagnostic
from reconciler.workspace import Workspace

if TYPE_CHECKING:
    from reconciler.config.stream import Desired

__all__ = ["desired", "load", "schema_names", "schema_text"]


def load(root: Path, *, capabilities: Callable[[str], Capabilities | None]) -> Workspace:
    """Read `reconciler.yaml` beneath `root`; `capabilities` returns a vendor's table by type.

    Raises ConfigError with all findings at once.
    """
    from reconciler.config.workspace import load as _load

    return _load(root, capabilities)


def desired(
    workspace: Workspace, capabilities: Mapping[str, Capabilities], warnings: list[Diagnostic]
) -> Desired:
    """Stream the desired accounts, one per account and provider, in the order of the files.

    `capabilities` is keyed by provider name. What only warns is appended to `warnings`. When
    exhausted, raises ConfigError with the findings of all files, or Refused for a glob that
    matches nothing. Close it when it is not needed any more: other processes may help to read.
    """
    from reconciler.config.stream import Desired

    return Desired(workspace, capabilities, warnings)


def schema_names() -> tuple[str, ...]:
    """Return the names of the JSON Schemas."""
    from reconciler.config.schema import NAMES

    return NAMES


def schema_text(name: str) -> str:
    """Return the text of a JSON Schema. Raises KeyError for an unknown name."""
    from reconciler.config.schema import text

    return text(name)
