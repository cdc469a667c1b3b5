"""Choose: the YAML files of a workspace that a command may rewrite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from reconciler.config.files import LARGEST, WORKSPACE, find, opened
from reconciler.config.outline import outline
from reconciler.config.workspace import LARGEST as LARGEST_WORKSPACE
from reconciler.diagnostics import Diagnostic, Severity, Source, error
from reconciler.errors import ConfigError

YAML: Final = (".yaml", ".yml")


class File(NamedTuple):
    """One YAML file: how it is called, where it is (no link), and its schema.

    `ours` False: the user named it, and it is neither the workspace file nor matched by a glob.
    """

    name: str
    path: Path
    schema: str = "accounts"
    ours: bool = True

    def read(self) -> bytes:
        """Return what the file holds. Raises Unreadable."""
        largest = LARGEST_WORKSPACE if self.schema == "workspace" else LARGEST
        with opened(self.path, self.name, largest) as stream:
            return stream.read()


def choose(root: Path, paths: Sequence[str], findings: list[Diagnostic]) -> list[File]:
    """Return the YAML files of the workspace, or those at or beneath `paths`, each once.

    What cannot be is appended to `findings`: a path that is not there, a link that leaves the
    workspace; of a glob without a match only a warning. Rows (CSV, JSON) are nobody's to lay out.
    """
    known: dict[Path, File] = {}
    try:
        for file in _workspace(root, findings, told=not paths):
            known.setdefault(file.path, file)
    except ConfigError as wrong:
        if not paths or (root / WORKSPACE).exists():
            findings.extend(wrong.diagnostics)
    if not paths:
        return list(known.values())
    chosen: dict[Path, File] = {}
    for name in paths:
        for file in _named(root, name, known, findings):
            chosen.setdefault(file.path, file)
    return list(chosen.values())


def _workspace(root: Path, findings: list[Diagnostic], *, told: bool) -> Iterator[File]:
    """Yield the workspace file and the YAML files that its globs match; `told`: with findings."""
    files, wrong, empty = find(known := outline(root))
    real = Path(known.root)
    target = (real / WORKSPACE).resolve()
    if target.is_relative_to(real):
        yield File(WORKSPACE, target, "workspace")
    else:
        wrong = [_outside(WORKSPACE), *wrong]
    for found in files:
        if found.file.endswith(YAML):
            yield File(found.file, (real / found.file).resolve())
    if told:
        findings.extend(wrong)
        findings.extend(one._replace(severity=Severity.WARNING) for one in empty)


def _named(
    root: Path, name: str, known: dict[Path, File], findings: list[Diagnostic]
) -> Iterator[File]:
    """Yield the files at or beneath a path that the user named."""
    path = root / name
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as wrong:
        reason = getattr(wrong, "strerror", None) or "it points to itself"
        findings.append(
            _left("unreadable", f"This cannot be read: {reason}.", name, "check the path")
        )
        return
    if target.is_dir():
        yield from (file for place, file in known.items() if place.is_relative_to(target))
    elif target in known:
        yield known[target]
    elif path.is_symlink() and not target.is_relative_to(root.resolve()):
        findings.append(_outside(name))
    elif not name.endswith(YAML):
        hint = "rows are written by programs, and stay as these write them"
        findings.append(_left("file-kind", "Only YAML has a layout.", name, hint))
    else:
        kind = "workspace" if target.name == WORKSPACE else "accounts"
        yield File(name, target, kind, ours=False)


def _outside(name: str) -> Diagnostic:
    return _left("outside", "The link leaves the workspace.", name, "name the file itself")


def _left(id: str, summary: str, name: str, hint: str) -> Diagnostic:
    return error(id, summary, hint=hint, source=Source(name))
