"""Files for the tests of the configuration room: a workspace in a folder, read to the end."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from config_capabilities import TABLES, WORKSPACE

from reconciler.accounts import Account
from reconciler.config import desired, load
from reconciler.diagnostics import Diagnostic
from reconciler.errors import ReconcilerError


class Reading(NamedTuple):
    """What became of a workspace: accounts, what only warns, and the failure at the end."""

    accounts: list[Account]
    warnings: list[Diagnostic]
    failure: ReconcilerError | None

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return self.failure.diagnostics if self.failure else ()

    @property
    def ids(self) -> list[str]:
        return [finding.id for finding in self.errors]

    @property
    def written(self) -> dict:
        return {account.address: account.written() for account in self.accounts}


def write(root: Path, files: dict[str, str | bytes], workspace: str = WORKSPACE) -> None:
    for name, content in {"reconciler.yaml": workspace, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def read(root: Path, moment: datetime | None = None) -> Reading:
    warnings: list[Diagnostic] = []
    accounts: list[Account] = []
    try:
        workspace = load(root, capabilities=TABLES.get)
        tables = {name: TABLES[app.type] for name, app in workspace.apps.items()}
        accounts.extend(desired(workspace, tables, warnings, moment))
    except ReconcilerError as failure:
        return Reading(accounts, warnings, failure)
    return Reading(accounts, warnings, None)


def reading(
    root: Path, content: str | bytes, *, file: str = "accounts/a.yaml", workspace: str = WORKSPACE
) -> Reading:
    write(root, {file: content}, workspace.replace("**/*.yaml", "**/*"))
    return read(root)
