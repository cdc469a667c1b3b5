"""Careful: the accounts of one file, and every finding about them in its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO, Final

import yaml
from yaml.events import MappingStartEvent

from reconciler.accounts import Account
from reconciler.config import text
from reconciler.config.built import Built
from reconciler.config.defaults import Layer, beneath, layers, located, over
from reconciler.config.events import Node, Reader, Stop, Suspects, begin
from reconciler.config.files import Found
from reconciler.config.judge import Bench, Judge
from reconciler.config.libyaml import syntax, yaml_events
from reconciler.config.quick import Doubt
from reconciler.config.report import Path, Raw, Report
from reconciler.config.schema import faults, typed
from reconciler.config.told import KEPT, MOST
from reconciler.diagnostics import Diagnostic, Severity, Source, error

HEAD: Final = 1 << 20


def suspects(stream: BinaryIO, file: str, findings: list[Diagnostic]) -> Suspects:
    """Append what no file may hold; return what only some places may hold."""
    found: list[tuple[int, int, str]] = []
    try:
        for line, piece, delicate in text.pieces(stream, file):
            if delicate:
                findings.extend(text.forbidden(piece, file, line))
                found.extend(islice(text.placed(piece, line), KEPT + 1))
            if len(findings) > MOST or len(found) > KEPT:
                break
    except text.Unfit as wrong:
        findings.append(wrong.finding)
    if len(found) > KEPT:
        findings.append(
            error(
                "tab",
                f"The file holds more than {KEPT:,} tabs and direction marks.",
                hint="indent with spaces, or split the file",
                source=Source(file, *found[0][:2]),
            )
        )
    return Suspects(found)


def misplaced(found: Suspects, file: str) -> Iterator[Diagnostic]:
    """Yield findings for tabs outside quoted text and direction marks outside profile texts."""
    for line, column, character in found.left():
        place = Source(file, line, column)
        if character == "\t":
            yield error(
                "tab", "A tab stands outside quoted text.", hint="indent with spaces", source=place
            )
        else:
            yield error(
                "control-character",
                f"The mark {text.named(character)} stands outside a profile text.",
                hint="remove it",
                source=place,
            )


class Careful:
    """The careful reading of one file; `findings` holds its errors, `warnings` the rest."""

    def __init__(self, judge: Judge, found: Found) -> None:
        self.judge, self.file = judge, found.file
        self.findings: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []
        self.told: set[tuple[Any, ...]] = set()
        self.named_at = found.globs[-1].source if found.globs else None
        """Where the workspace file names this file, as far as that is known."""
        self.under = beneath(found.globs)
        self.layers = layers(found.globs)
        self.bench: Bench = judge.within(found.file, self.under)

    def yaml(self, stream: BinaryIO) -> Iterator[Account]:
        """Yield the accounts of a YAML file as they are found good."""
        found = suspects(stream, self.file, self.findings)
        if self.findings:
            return
        late = self._defaults_follow(stream)
        try:
            if late is not None:
                self._take_defaults(late)
            stream.seek(0)
            reader = Reader(yaml_events(stream, self.file), self.file, self.findings, found)
            yield from self.sections(reader, known=late is not None)
            self.findings.extend(misplaced(found, self.file))
        except Stop as stop:
            self.findings.append(stop.finding)
        except yaml.YAMLError as wrong:
            stream.seek(0)
            self.findings.append(syntax(wrong, self.file, stream.read(HEAD)))

    def _defaults_follow(self, stream: BinaryIO) -> Built | None:
        """Return the defaults if they stand behind the accounts."""
        stream.seek(0)
        reader = Reader(yaml_events(stream, self.file), self.file, [])
        behind = False
        try:
            for key, first in reader.top():
                if key.value == "defaults":
                    return reader.build(reader.node(first)) if behind else None
                if key.value == "accounts" and not _mentioned(stream, b"defaults"):
                    return None
                behind = behind or key.value == "accounts"
                reader.node(first)
        except (Stop, yaml.YAMLError):
            return None
        return None

    def sections(self, reader: Reader, *, known: bool = False) -> Iterator[Account]:
        """Yield the accounts of a file whose events come from `reader`."""
        for key, first in reader.top():
            name = key.value
            if name == "accounts" and isinstance(first, MappingStartEvent):
                for account, event in reader.pairs(first):
                    at = begin(account)
                    identity = str(reader.scalar(account, profile=False))
                    yield from self.account(identity, at, reader, reader.node(event))
                    if len(self.findings) > MOST:
                        return
                continue
            built = reader.build(reader.node(first))
            if name == "defaults" and not known:
                self._take_defaults(built)
            where = begin(key)
            if name != "defaults":
                self._shape({name: built.value}, 1, built, where)

    def _take_defaults(self, built: Built) -> None:
        at = built.place(()) or (1, 1)
        wrong = self._shape({"defaults": built.value}, 1, built, at)
        if isinstance(built.value, dict):
            self.judge.fit(built.value, self._report(wrong, built, at))
            self.layers = (Layer(self.file, built), *self.layers)
            self.bench = self.judge.within(self.file, over(self.under, built.value))

    def account(self, key: str, at: tuple[int, int], reader: Reader, node: Node) -> list[Account]:
        """Return the desired accounts of one written account; appends what is wrong with it."""
        try:
            return self._quickly(key, reader.bare(node), at, None)
        except Doubt:
            return self.judged(key, at, reader.build(node))

    def _quickly(
        self,
        key: str,
        raw: Any,
        at: tuple[int, int],
        built: Built | None,
    ) -> list[Account]:
        """Return the desired accounts of one that has no errors. Raises Doubt."""
        noted: list[tuple[Source, str, str, str, Severity]] = []

        def report(
            path: Path, id: str, summary: str, hint: str = "", severity: Severity = Severity.ERROR
        ) -> None:
            if severity is Severity.ERROR or (path and built is None):
                raise Doubt
            where = self._where(path, id, built, at) if built else Source(self.file, *at)
            noted.append((where, id, summary, hint, severity))

        if not isinstance(raw, dict):
            raise Doubt
        made = self.bench.accounts(key, raw, at[0], report)
        for one in noted:
            self.tell(*one)
        return made

    def judged(
        self, key: str, at: tuple[int, int], built: Built, told: Sequence[Path] = ()
    ) -> list[Account]:
        """Return the desired accounts of one built account; appends what is wrong with it.

        What is wrong with the fields at `told` was told already. An account with errors comes
        without a document, only to find its address again.
        """
        raw = built.value
        try:
            if not told:
                return self._quickly(key, raw, at, built)
        except Doubt:
            pass
        wrong = self._shape({"accounts": {key: raw}}, 2, built, at, told)
        if not isinstance(raw, dict):
            return []

        before = len(self.findings) - len(wrong)
        made = self.bench.accounts(key, raw, at[0], self._report(wrong, built, at))
        if len(self.findings) > before:
            return [account._replace(document=b"", digest=b"") for account in made]
        return made

    def _report(self, wrong: list[Path], built: Built, at: tuple[int, int]) -> Report:
        """Return what takes the findings of the judge, but not again what the schema said."""
        told = set(wrong)
        around = {one[:depth] for one in wrong for depth in range(1, len(one) + 1)}

        def report(
            path: Path, id: str, summary: str, hint: str = "", severity: Severity = Severity.ERROR
        ) -> None:
            if path not in around and told.isdisjoint(
                path[:depth] for depth in range(len(path) + 1)
            ):
                self.tell(self._where(path, id, built, at), id, summary, hint, severity)

        return report

    def _where(self, path: Path, id: str, built: Built, at: tuple[int, int]) -> Source:
        """Return the place of a field: in the account, or in the defaults it comes from."""
        found = located(path, id, (Layer(self.file, built), *self.layers)) if path else None
        return found or Source(self.file, *at)

    def _shape(
        self,
        value: Raw,
        skip: int,
        built: Built,
        at: tuple[int, int],
        told: Sequence[Path] = (),
    ) -> list[Path]:
        """Append what the schema does not allow; return the paths, with those of `told`."""
        wrong = [*told]
        for path, id, summary, hint in faults(typed(value, "accounts"), "accounts"):
            inner = path[skip:]
            if inner in told:
                continue
            where = built.place(inner, id) if inner else at
            self.tell(where or at, id, summary, hint, Severity.ERROR)
            wrong.append(inner)
        return wrong

    def tell(
        self,
        where: Source | tuple[int, int] | None,
        id: str,
        summary: str,
        hint: str,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Append a finding at a place, or at line and column of this file, once."""
        source = where if isinstance(where, Source) else Source(self.file, *(where or ()))
        told = (source, id, summary)
        if told not in self.told:
            if len(self.told) < KEPT:
                self.told.add(told)
            takes = self.findings if severity is Severity.ERROR else self.warnings
            if len(takes) > KEPT:
                return
            takes.append(Diagnostic(severity, id, summary, hint=hint, source=source))


def _mentioned(stream: BinaryIO, word: bytes) -> bool:
    at = stream.tell()
    stream.seek(0)
    tail = b""
    found = False
    while not found and (data := stream.read(HEAD)):
        found = word in tail + data or b"\\" in data
        tail = data[-len(word) :]
    stream.seek(at)
    return found
