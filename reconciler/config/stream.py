"""Desired: the accounts of all files as one stream, and all their findings at the end."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from reconciler.accounts import Account
from reconciler.capabilities import Capabilities
from reconciler.config import lines, text
from reconciler.config.across import Across
from reconciler.config.defaults import Layer, beneath, layers, located, over
from reconciler.config.files import Found, Unreadable, find, opened
from reconciler.config.judge import Judge
from reconciler.config.lint import Twins
from reconciler.config.quick import Doubt, doubt
from reconciler.config.report import Path as Path_
from reconciler.config.told import MOST, Told
from reconciler.diagnostics import Diagnostic, Severity, error
from reconciler.errors import ConfigError, Refused
from reconciler.workspace import Workspace

if TYPE_CHECKING:
    from reconciler.config.careful import Careful


def desired(
    workspace: Workspace,
    capabilities: Mapping[str, Capabilities],
    warnings: list[Diagnostic],
    moment: datetime | None,
) -> Iterator[Account]:
    """Yield the desired accounts of all files by path; see `reconciler.config`."""
    files, findings, empty = find(workspace)
    judge = Judge(workspace, capabilities, moment)
    told = Told()
    told.take(findings)
    told.take_above(_unfit(workspace, judge))
    across = Across(Twins(judge.levels, capabilities) if moment else None)
    for found in files:
        own: list[Diagnostic] = []
        with _no_collection():
            for account in _file(Path(workspace.root), found, judge, own):
                if wrong := across.take(account):
                    own.append(wrong)
                elif account.digest:
                    yield account
        told.cut = told.cut or len(own) > MOST
        # A default of a glob may be wrong for the accounts of many files.
        told.take_above(one for one in own if not _of(one, found))
        told.take(one for one in own if _of(one, found))
    across.twice(judge.levels, told)
    warnings.extend(told.of(Severity.WARNING))
    if errors := told.of(Severity.ERROR):
        raise ConfigError(told.of(Severity.ERROR, empty) if empty else errors)
    if empty:
        raise Refused(empty)


def _of(finding: Diagnostic, found: Found) -> bool:
    return finding.source is None or finding.source.file == found.file


def _unfit(workspace: Workspace, judge: Judge) -> list[Diagnostic]:
    """Return what no account could take from the defaults of the globs."""
    findings: list[Diagnostic] = []
    for glob in workspace.accounts:
        judge.fit(dict(glob.defaults), partial(_report, findings, layers((glob,))))
    return findings


def _report(
    findings: list[Diagnostic],
    above: tuple[Layer, ...],
    path: Path_,
    id: str,
    summary: str,
    hint: str = "",
    severity: Severity = Severity.ERROR,
) -> None:
    if severity is Severity.ERROR:
        findings.append(error(id, summary, hint=hint, source=located(path, id, above)))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the cyclic garbage collector: reading makes many values and no cycles."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _file(root: Path, found: Found, judge: Judge, findings: list[Diagnostic]) -> Iterator[Account]:
    """Yield the accounts of one file: the fast way as far as it goes, else the careful one."""
    done = 0
    try:
        with opened(root / found.file, found.file) as stream:
            kind = "bans" if found.bans else PurePosixPath(found.file).suffix
            if kind in (".yaml", ".yml"):
                try:
                    for account in _fast(text.pieces(stream, found.file), found, judge):
                        done += 1
                        yield account
                    return
                except (lines.Unusual, Doubt, text.Unfit):
                    stream.seek(0)
            from reconciler.config.careful import Careful

            careful = Careful(judge, found)
            for account in _carefully(careful, kind, stream):
                # The fast way had these already, in the same order.
                if done:
                    done -= 1
                    continue
                yield account
            findings += careful.findings
            findings += careful.warnings
    except Unreadable as wrong:
        findings.append(wrong.finding)


def _carefully(careful: Careful, kind: str, stream: BinaryIO) -> Iterator[Account]:
    if kind in (".yaml", ".yml"):
        return careful.yaml(stream)
    from reconciler.config.bulk import READERS

    return READERS[kind](careful, stream)


def _fast(pieces: Iterator[text.Piece], found: Found, judge: Judge) -> Iterator[Account]:
    under = beneath(found.globs)
    bench = judge.within(found.file, under)
    for key, line, raw in lines.read(pieces):
        if raw.__class__ is not dict:
            raise Doubt
        if not key:
            judge.fit(raw, doubt)
            bench = judge.within(found.file, over(under, raw))
            continue
        yield from bench.accounts(key, raw, line, doubt)
