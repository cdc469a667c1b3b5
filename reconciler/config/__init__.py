"""Configuration: reading what users write; nothing heavy is imported before it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from reconciler.accounts import Account
from reconciler.capabilities import Capabilities
from reconciler.diagnostics import Diagnostic
from reconciler.workspace import Workspace

__all__ = ["Desired", "desired", "load", "schema_names", "schema_text"]

Desired: TypeAlias = Iterator[Account]
"""The desired accounts as a stream, in the order of the files."""


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
) -> Desired:
    """Stream the desired accounts, one per account and provider, in the order of the files.

    `capabilities` is keyed by provider name. What only warns is appended to `warnings`. When
    exhausted, raises ConfigError with the findings of all files, or Refused for a glob that
    matches nothing. A `moment` is given by who validates: bans are judged from it on. A plan judges
    them itself, as it knows which ones are new.
    """
    from reconciler.config.stream import desired as _desired

    return _desired(workspace, capabilities, warnings, moment)


def schema_names() -> tuple[str, ...]:
    """Return the names of the JSON Schemas."""
    from reconciler.config.schema import NAMES

    return NAMES


def schema_text(name: str) -> str:
    """Return the text of a JSON Schema. Raises KeyError for an unknown name."""
    from reconciler.config.schema import text

    return text(name)
