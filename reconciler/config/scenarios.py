"""Scenarios: files of `reconciler test`, read strictly; accounts in them as in account files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from reconciler.accounts import Account, Address
from reconciler.capabilities import Capabilities
from reconciler.config import desired
from reconciler.config.built import Built
from reconciler.config.close import close
from reconciler.config.expectations import Expectations
from reconciler.config.parts import part, parts, patched
from reconciler.config.pen import Pen, sight
from reconciler.config.scalars import is_null
from reconciler.config.schema import faults, typed
from reconciler.config.workspace import whole
from reconciler.diagnostics import Diagnostic, Source
from reconciler.errors import ConfigError, Refused
from reconciler.scenario import Given, Scenario, Sight, Step, Trouble, When, Written
from reconciler.values import to_moment
from reconciler.workspace import Workspace

FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The moment at which a scenario plays that names none: no test depends on the day it runs."""

_EDITS: Final = frozenset({"profile", "configuration", "banned", "logged_in"})

Entries = Mapping[str, tuple[Built, tuple[int, int]]]
"""Accounts as they are written, by id, each with the place of its key."""


def read(
    path: Path, name: str, workspace: Workspace, capabilities: Mapping[str, Capabilities]
) -> tuple[Scenario, ...]:
    """Return the scenarios of a file, called `name` in findings. Raises ConfigError with them."""
    findings: list[Diagnostic] = []
    built = whole(path, name, findings)
    pen = Pen(name, built, findings, workspace, capabilities)
    shape = typed(_bare(built.value), "scenario")
    for place, id, summary, hint in faults(shape, "scenario"):
        pen.tell(built, place, id, summary, hint)
    if findings:
        raise ConfigError(findings)
    reading = _Reading(pen, Expectations(pen), shape)
    scenarios = tuple(reading.scenarios(built))
    if findings:
        raise ConfigError(sorted(findings, key=lambda one: one.source or Source("")))
    return scenarios


def _bare(file: Any) -> Any:
    """Return the file without its accounts, which are read as those of account files are."""
    bare = _without(file, "given", "defaults")
    if isinstance(scenarios := file.get("scenarios"), dict):
        bare["scenarios"] = {name: _of_scenario(one) for name, one in scenarios.items()}
    return bare


def _of_scenario(one: Any) -> Any:
    bare = _without(one, "given", "when")
    if isinstance(bare, dict) and isinstance(steps := bare.get("steps"), list):
        bare["steps"] = [_without(step, "when") for step in steps]
    return bare


def _without(value: Any, *keys: str) -> Any:
    """Return a mapping with empty accounts beneath these keys of it."""
    if not isinstance(value, dict):
        return value
    bare = dict(value)
    for key in keys:
        if not isinstance(inner := bare.get(key), dict):
            continue
        accounts = {name: _emptied(inner[name]) for name in ("accounts", "change") if name in inner}
        bare[key] = {} if key == "defaults" else {**inner, **accounts}
    return bare


def _emptied(accounts: Any) -> Any:
    if not isinstance(accounts, dict):
        return accounts
    return {id: {} if isinstance(account, dict) else account for id, account in accounts.items()}


@dataclass(frozen=True, slots=True)
class _State:
    """What holds until something else is said; entries None stands for the workspace's files."""

    entries: Entries | None
    file: str
    as_of: datetime
    on_absent: str


class _Reading:
    """Reads the scenarios of one file; `shape` is the whole of it with its values typed."""

    def __init__(self, pen: Pen, expectations: Any, shape: Any) -> None:
        self.pen, self.expectations, self.shape = pen, expectations, shape
        self.defaults = part(pen.whole, "defaults") if "defaults" in shape else Built({}, {}, {})
        self._files: Written | None = None

    def scenarios(self, built: Built) -> Iterator[Scenario]:
        """Yield the scenarios in their order."""
        common = part(built, "given") if "given" in built.value else None
        all = parts(part(built, "scenarios"))
        for name, shape in self.shape["scenarios"].items():
            one = all[name]
            source = Source(self.pen.name, *built.keys["scenarios", name])
            own = part(one, "given") if "given" in shape else common
            state, given = self._given(own, source)
            yield Scenario(name, source, given, tuple(self._steps(one, shape, source, state)))

    def _steps(
        self, one: Built, typed: Mapping[str, Any], source: Source, state: _State
    ) -> Iterator[Step]:
        if ("steps" in typed) == ("expect" in typed or "when" in typed):
            self._tell_expect(one)
            return
        steps = typed.get("steps", [typed])
        for number, step in enumerate(steps):
            if "expect" not in step:
                self._tell_expect(one)
                return
            here = part(one, "steps", number) if "steps" in typed else one
            place = self.pen.source(here) if "steps" in typed else source
            state, when = self._when(here, step.get("when", {}), state)
            yield Step(place, when, self.expectations.expect(part(here, "expect"), step["expect"]))

    def _tell_expect(self, one: Built) -> None:
        summary = "A scenario has either expect, perhaps with when, or steps."
        self.pen.tell(one, (), "missing-key", summary, "write expect: with what shall come of it")

    def _given(self, built: Built | None, source: Source) -> tuple[_State, Given]:
        state = _State({}, "", FIRST, self.pen.workspace.on_absent)
        if built is None:
            return state, Given(source)
        value = built.value
        state = self._accounts(built, state)
        written = self._written(state)
        self.pen.findings.extend(
            one for one in (*written.errors, *written.refused) if one not in self.pen.findings
        )
        vendor = self.sights(part(built, "vendor")) if "vendor" in value else {}
        return state, Given(self.pen.source(built), written, vendor)

    def _when(self, here: Built, typed: Mapping[str, Any], state: _State) -> tuple[_State, When]:
        built = part(here, "when") if "when" in here.value else Built({}, {}, {})
        state = self._accounts(built, state)
        if "change" in typed:
            state = self._changed(part(built, "change"), state)
        if "as_of" in typed:
            try:
                state = replace(state, as_of=to_moment(typed["as_of"]))
            except ValueError as problem:
                hint = "write it like 2027-01-31T00:00:00Z"
                self.pen.tell(built, ("as_of",), "bad-time", f"{problem}.", hint)
        state = replace(state, on_absent=typed.get("on_absent", state.on_absent))
        vendor = self.sights(part(built, "vendor")) if "vendor" in typed else {}
        return state, When(
            self._written(state),
            state.as_of,
            state.on_absent,
            vendor,
            typed.get("allow", {}),
            typed.get("refresh", False),
            tuple(self._trouble(built, typed.get("trouble", ()))),
        )

    def _trouble(self, built: Built, typed: Any) -> Iterator[Trouble]:
        for number, one in enumerate(typed):
            path = ("trouble", number, "account")
            if "account" not in one:
                yield Trouble(one["call"], one["answers"])
                continue
            for where in self.pen.addresses(built, path, one["account"]):
                yield Trouble(one["call"], one["answers"], where)

    def _accounts(self, built: Built, state: _State) -> _State:
        """Return the state with the accounts that are written here, if any are."""
        value = built.value
        if "accounts" in value and "files" in value:
            self.pen.tell(
                built,
                ("files",),
                "unknown-key",
                "Accounts are written here, and files are named.",
                "keep one of them",
            )
        state = replace(state, file=str(value.get("file", state.file)))
        if "files" in value:
            return replace(state, entries=None)
        if "accounts" not in value:
            return state
        return replace(state, entries=dict(self._entries(part(built, "accounts"))))

    def _entries(self, accounts: Built) -> Iterator[tuple[str, tuple[Built, tuple[int, int]]]]:
        for key, own in parts(accounts).items():
            built = patched(self.defaults, own)
            for id in self.pen.series(accounts, (key,), key):
                yield id, (built, accounts.keys[key,])

    def _changed(self, changes: Built, state: _State) -> _State:
        """Return the state with its accounts merged with what changes in them."""
        if state.entries is None:
            self.pen.tell(
                changes,
                (),
                "unknown-key",
                "What stands in files cannot be changed here.",
                "write the accounts that change under accounts",
            )
            return state
        entries = dict(state.entries)
        for key, patch in parts(changes).items():
            for id in self.pen.series(changes, (key,), key):
                if not is_null(patch.value):
                    under, at = entries.get(id, (self.defaults, changes.keys[key,]))
                    entries[id] = patched(under, patch), at
                elif entries.pop(id, None) is None:
                    summary = f"There is no account {id[:80]!r} to take away."
                    hint = close(id, entries)
                    self.pen.tell(changes, (key,), "unknown-account", summary, hint)
        return replace(state, entries=entries)

    def _written(self, state: _State) -> Written:
        if state.entries is None:
            return self._of_files()
        return self._judged(state.entries, state.file)

    def _judged(self, entries: Entries, file: str) -> Written:
        """Return what accounts say that would stand in a file, judged as there."""
        careful = self.pen.careful(file)
        found: dict[Address, Account] = {}
        for id, (built, at) in entries.items():
            for account in careful.judged(id, at, built):
                if account.address in found:
                    summary = f"The account {account.address} is written twice."
                    careful.tell(at, "duplicate-account", summary, "keep one of them")
                elif account.digest:
                    found[account.address] = account
        errors = sorted(careful.findings, key=lambda one: one.source or Source(""))
        return Written(tuple(found.values()), tuple(errors), (), tuple(careful.warnings))

    def _of_files(self) -> Written:
        """Return what the account files of the workspace say; they are read once."""
        if self._files is None:
            warnings: list[Diagnostic] = []
            accounts: list[Account] = []
            errors: tuple[Diagnostic, ...] = ()
            refused: tuple[Diagnostic, ...] = ()
            try:
                accounts.extend(desired(self.pen.workspace, self.pen.capabilities, warnings))
            except Refused as problem:
                refused = problem.diagnostics
            except ConfigError as problem:
                errors = problem.diagnostics
            self._files = Written(tuple(accounts), errors, refused, tuple(warnings))
        return self._files

    def sights(self, built: Built) -> dict[Address, Sight]:
        """Return what others changed at the vendor, by account."""
        sights: dict[Address, Sight] = {}
        for key, own in parts(built).items():
            for where in self.pen.addresses(built, (key,), key):
                sights[where] = sight(self.pen, own, where, _EDITS)
        return sights
