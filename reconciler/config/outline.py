"""Outline: which files a workspace has, even where the workspace file is not valid."""

from __future__ import annotations

from pathlib import Path

from reconciler.config.files import leaves
from reconciler.config.schema import typed
from reconciler.config.workspace import read
from reconciler.diagnostics import Diagnostic
from reconciler.workspace import Glob, Workspace


def outline(root: Path) -> Workspace:
    """Return a workspace that knows its globs and nothing else. Raises ConfigError.

    What is wrong in the workspace file is not told, but where it cannot be read.
    """
    findings: list[Diagnostic] = []
    written = typed(read(root, findings).value, "workspace")
    entries = written.get("accounts")
    globs = tuple(
        Glob(glob)
        for entry in (entries if isinstance(entries, list) else ["accounts/**/*.yaml"])
        if isinstance(glob := entry.get("files") if isinstance(entry, dict) else entry, str)
        and not leaves(glob)
        and glob
    )
    return Workspace("", str(root.resolve()), {}, globs)
