"""Compare: what came of a step against what was expected of it, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from reconciler.accounts import Address, flatten, split
from reconciler.changes import ORDER, Action
from reconciler.diagnostics import Diagnostic, Severity
from reconciler.diff import same
from reconciler.drift import Drift
from reconciler.events import Errored, Event, Skipped
from reconciler.rehearse.stage import Outcome, Stage
from reconciler.scenario import Asked, Line, Mismatch, Sight, Step
from reconciler.views.fields import rows
from reconciler.views.words import value, visible

Pairs = Mapping[str, tuple[Any, Any]]

_INVALID: Final = (
    "reading the accounts finds other errors",
    "reading the accounts finds errors",
    "reading the accounts does not find these errors",
)
_REFUSED: Final = (
    "the plan is refused by something else",
    "the plan is refused",
    "the plan is not refused by this",
)
_FAILED: Final = (
    "the apply fails for other accounts",
    "the apply fails",
    "the apply does not fail for these",
)


class Comparing:
    """Compares one step; each of its parts yields what is not as expected."""

    def __init__(self, number: int, step: Step, stage: Stage) -> None:
        self.number, self.expect, self.written = number, step.expect, step.when.written
        self.stage = stage

    def invalid(self) -> Iterator[Mismatch]:
        """Compare what reading the accounts finds."""
        errors = self.written.errors
        lines = list(_findings(self.expect.invalid, errors))
        yield from self._unless(lines, "invalid", *_INVALID)

    def outcome(self, told: Outcome) -> Iterator[Mismatch]:
        """Compare what was planned, judged and done."""
        expect = self.expect
        findings = (*told.judged.findings, *told.planned.diagnostics)
        if expect.drift is not None and told.drift is not None:
            lines = list(_drift(expect.drift, told.drift))
            yield from self._unless(lines, "drift", "drift is not as expected")
        if expect.actions is not None:
            lines = list(_actions(expect.actions, told.planned.actions))
            yield from self._unless(lines, "actions", "the plan is not as expected")
        errors = [one for one in findings if one.severity is Severity.ERROR]
        lines = list(_findings(expect.refused, errors))
        yield from self._unless(lines, "refused", *_REFUSED)
        lines = list(self._warnings(findings))
        yield from self._unless(lines, "warnings", "a warning is missing")
        if expect.approvals is not None:
            asked = {one.rule: one.groups for one in told.judged.approvals}
            lines = list(_mapping(expect.approvals, asked))
            yield from self._unless(lines, "approvals", "other approvals are asked for")
        lines = list(_mapping(expect.waiting, _waiting(findings)))
        yield from self._unless(lines, "waiting", "other fields wait")
        yield from self._done(told)

    def _done(self, told: Outcome) -> Iterator[Mismatch]:
        failed = dict(_failed(told.events))
        wanted = dict.fromkeys(self.expect.failed, "")
        lines = [f"- {where}" for where in sorted(wanted.keys() - failed.keys())]
        lines += [f"+ {where}: {failed[where]}" for where in sorted(failed.keys() - wanted.keys())]
        yield from self._unless(lines, "failed", *_FAILED)
        if told.applied and self.expect.calls not in (None, told.calls):
            lines = [f"- {self.expect.calls}", f"+ {told.calls}"]
            yield from self._unless(lines, "calls", "another number of calls changes something")
        for where, sight in self.expect.vendor.items():
            if lines := list(self._held(where, sight)):
                summary = f"the vendor holds something else of {where}"
                yield Mismatch(self.number, "vendor", sight.source, summary, tuple(lines))
        if told.again is not None and not failed:
            lines = [line for action in told.again.actions for line in _shown(action)]
            yield from self._unless(lines, "rests", "the plan after the apply is not empty")

    def _warnings(self, findings: Iterable[Diagnostic]) -> Iterator[str]:
        """Yield those that are missing, and then those that there are."""
        soft = [
            one for one in (*self.written.warnings, *findings) if one.severity is not Severity.ERROR
        ]
        missing = [
            asked
            for asked in self.expect.warnings
            if not any(
                _name(one) == asked.id and (not asked.addresses or one.address in asked.addresses)
                for one in soft
            )
        ]
        yield from (f"- {_asked(one)}" for one in missing)
        if missing:
            yield from (f"  {_name(one)}: {visible(one.summary, 500)}" for one in soft)

    def _held(self, where: Address, sight: Sight) -> Iterator[str]:
        name, id = split(where)
        vendor = self.stage.vendors[name]
        account = vendor.held(id)
        if account is None or not sight.exists:
            if (account is not None) != sight.exists:
                yield f"- {'it exists' if sight.exists else 'missing'}"
                yield f"+ {'missing' if sight.exists else 'it exists'}"
            return
        if sight.profile is not None:
            wanted = _set(_flat(sight.profile))
            yield from _fields("profile", wanted, vendor.profile(account))
        if sight.configuration is not None:
            wanted = {
                flag: on
                for flag, on in sight.configuration.items()
                if on is not self.stage.tables[name].field(f"configuration.{flag}").default
            }
            yield from _fields("configuration", wanted, vendor.configuration(account))
        token = self.stage.tokens.names.get(account.token or "", "one that nobody set")
        for key, said, holds in (
            ("banned", sight.banned, vendor.banned(account)),
            ("token", sight.token, token),
            ("kicks", sight.kicks, account.kicks),
            ("notified", sight.notified, account.last_kick),
        ):
            if said is not None and said != holds:
                yield f"- {key}  {value(said)}"
                yield f"+ {key}  {value(holds)}"

    def _unless(
        self, lines: list[str], key: str, summary: str, more: str = "", less: str = ""
    ) -> Iterator[Mismatch]:
        """Yield the lines under a summary, another one where all are of one side."""
        if not lines:
            return
        signs = {line[0] for line in lines}
        told = {"+": more, "-": less}.get("".join(signs), "") or summary
        places = self.expect.places
        yield Mismatch(self.number, key, places.get(key, places[""]), told, tuple(lines))


def _actions(wanted: Iterable[Line], planned: Iterable[Action]) -> Iterator[str]:
    """Yield all actions, each with the sides that it is on; nothing if both have the same."""
    there = {(action.address, action.kind): action for action in planned}
    expected = {(line.address, line.kind): line for line in wanted}
    lines: list[str] = []
    for key in sorted({*there, *expected}, key=lambda one: (one[0], ORDER[one[1]])):
        line, action = expected.get(key), there.get(key)
        if action is None and line is not None:
            lines += (f"- {told}" for told in _line(line))
        elif line is None and action is not None:
            lines += _shown(action)
        elif line is not None and action is not None:
            lines += _both(line, action)
    yield from lines if any(line[0] != " " for line in lines) else ()


def _both(line: Line, action: Action) -> Iterator[str]:
    """Yield an action that is expected and there, and how far it is as expected."""
    told = f"{line.kind} {line.address}"
    if line.reason in ("", action.reason):
        yield f"  {told} ({action.reason})"
    else:
        yield f"- {told} ({line.reason})"
        yield f"+ {told} ({action.reason})"
    if line.changes is None:
        return
    there = {change.path: (change.before, change.after) for change in action.changes}
    for path in sorted({*line.changes, *there}):
        said, held = line.changes.get(path), there.get(path)
        if said and held and all(alike(path, *pair) for pair in zip(said, held, strict=True)):
            yield f"      {visible(path)}  {value(held[0])} -> {value(held[1])}"
            continue
        if said:
            yield f"-     {visible(path)}  {value(said[0])} -> {value(said[1])}"
        if held:
            yield f"+     {visible(path)}  {value(held[0])} -> {value(held[1])}"


def _line(line: Line) -> Iterator[str]:
    yield f"{line.kind} {line.address}{f' ({line.reason})' if line.reason else ''}"
    for path, (before, after) in sorted((line.changes or {}).items()):
        yield f"    {visible(path)}  {value(before)} -> {value(after)}"


def _shown(action: Action) -> Iterator[str]:
    """Yield an action that is there, as a plan shows it."""
    yield f"+ {action.kind} {visible(action.address)} ({action.reason})"
    yield from (f"+     {row.path}  {row}" for row in rows(action))


def _findings(wanted: Iterable[Asked], found: Iterable[Diagnostic]) -> Iterator[str]:
    """Yield the kinds of finding that are on one side only, or about other accounts."""
    there: dict[str, list[Diagnostic]] = {}
    for one in found:
        there.setdefault(_name(one), []).append(one)
    expected = {asked.id: asked for asked in wanted}
    for id, asked in expected.items():
        about = {one.address for one in there.get(id, ())}
        if id not in there or (asked.addresses and about != {*asked.addresses}):
            yield f"- {_asked(asked)}"
    for id, own in there.items():
        asked = expected.get(id, Asked(id))
        about = {one.address for one in own}
        if id not in expected or (asked.addresses and about != {*asked.addresses}):
            for one in own:
                place = f"  {visible(str(one.source), 300)}" if one.source else ""
                yield f"+ {id}: {visible(one.summary, 500)}{place}"


def _name(finding: Diagnostic) -> str:
    """Return what a finding is called: rules by their own ids."""
    return finding.id.removeprefix("rule-")


def _asked(asked: Asked) -> str:
    about = ", ".join(asked.addresses)
    return f"{visible(asked.id)}{f': {about}' if about else ''}"


def _waiting(findings: Iterable[Diagnostic]) -> dict[Address, tuple[str, ...]]:
    found: dict[Address, tuple[str, ...]] = {}
    for one in findings:
        if one.id == "waiting":
            paths = one.summary.removeprefix(f"{one.address}: ").removesuffix(" waits")
            found[Address(one.address)] = tuple(sorted(paths.split(", ")))
    return found


def _failed(events: Iterable[Event]) -> Iterator[tuple[Address, str]]:
    """Yield the accounts whose actions failed or were skipped, the first cause of each last."""
    for event in reversed(list(events)):
        match event:
            case Errored(action, code, message):
                yield action.address, f"{action.kind}: {visible(f'{code} {message}'.strip(), 300)}"
            case Skipped(action, because):
                yield action.address, f"{action.kind} skipped: {visible(because, 300)}"
            case _:
                continue


def failures(events: Iterable[Event]) -> list[str]:
    """Return a line for each account for which an apply failed."""
    return [f"+ {where}: {why}" for where, why in dict(_failed(events)).items()]


def _mapping(
    wanted: Mapping[Any, tuple[str, ...]], found: Mapping[Any, tuple[str, ...]]
) -> Iterator[str]:
    for key in sorted({*wanted, *found}):
        if wanted.get(key) == found.get(key):
            continue
        if key in wanted:
            yield f"- {visible(key)}: {', '.join(map(visible, wanted[key]))}"
        if key in found:
            yield f"+ {visible(key)}: {', '.join(map(visible, found[key]))}"


def _drift(wanted: Mapping[Address, Pairs | None], found: Drift) -> Iterator[str]:
    there: dict[Address, Pairs | None] = {
        one.address: None
        if one.kind == "missing"
        else {change.path: (change.recorded, change.observed) for change in one.changes}
        for one in found.drifted
    }
    for where in sorted({*wanted, *there}):
        said, held = wanted.get(where), there.get(where)
        if where in wanted and where in there and _same_pairs(said, held):
            continue
        if where in wanted:
            yield from _drifted("-", where, said)
        if where in there:
            yield from _drifted("+", where, held)


def _same_pairs(said: Pairs | None, held: Pairs | None) -> bool:
    if said is None or held is None:
        return said is held
    return said.keys() == held.keys() and all(
        alike(path, one, other)
        for path, pair in said.items()
        for one, other in zip(pair, held[path], strict=True)
    )


def _drifted(sign: str, where: Address, pairs: Pairs | None) -> Iterator[str]:
    yield f"{sign} {visible(where)}{': missing' if pairs is None else ''}"
    for path, (recorded, observed) in sorted((pairs or {}).items()):
        told = f"recorded {value(recorded)}, the vendor holds {value(observed)}"
        yield f"{sign}     {visible(path)}  {told}"


def _fields(section: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*wanted, *found}):
        if key in wanted and key in found and same(f"{section}.{key}", wanted[key], found[key]):
            continue
        if key in wanted:
            yield f"- {section}.{visible(key)}  {value(wanted[key])}"
        if key in found:
            yield f"+ {section}.{visible(key)}  {value(found[key])}"


def _flat(profile: Mapping[str, Any]) -> dict[str, Any]:
    flat = flatten({"profile": profile})
    return {path.removeprefix("profile."): held for path, held in flat.items()}


def _set(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that say something: texts that are not empty, numbers that are not 0."""
    return {key: held for key, held in fields.items() if held}


def alike(path: str, said: Any, held: Any) -> bool:
    """Tell whether a value is what was said of it; plain `42` and `true` may be texts, too."""
    if isinstance(said, bool) != isinstance(held, bool) or type(said) is not type(held):
        plain = str(said).lower() if isinstance(said, bool) else str(said)
        return said is not None and not isinstance(said, str) and held == plain
    return same(path, said, held)
