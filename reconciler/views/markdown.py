"""Markdown: a plan or a drift report for a comment, short enough and with nothing hidden."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from reconciler.accounts import split
from reconciler.changes import Action, Kind, Plan
from reconciler.diagnostics import Diagnostic, Severity
from reconciler.drift import Drift
from reconciler.guard import Judgement
from reconciler.views import text
from reconciler.views.phrases import ENGLISH, Speech, drift_sentences, muted, perhaps, sentences
from reconciler.views.words import (
    DESTRUCTIVE,
    LONG,
    READING,
    SIGNS,
    WIDTH,
    code,
    fence,
    mark,
    plan_line,
    prose,
    value,
    visible,
)

LIMIT: Final = 65_536
"""Characters that a comment on GitHub takes."""

BUDGET: Final = 60_000
"""Characters that we use of them, so that a pipeline may add some of its own."""

MARKS: Final = {
    Kind.CREATE: "+",
    Kind.UPDATE: "!",
    Kind.BLOCK: "-",
    Kind.UNBLOCK: "+",
    Kind.ADOPT: "#",
    Kind.FORGET: "#",
}
"""What colours the lines of a `diff` block."""

_COLUMNS: Final = 100
_SHORTEST_LINE: Final = 16
_IDS: Final = 0
"""A width that stands for account ids alone."""


@dataclass(frozen=True, slots=True)
class _Depth:
    """How much is shown. Widths are characters of a value, None for names of fields only.

    `findings` are told of one kind at most, in lines of `line` characters.
    """

    harmful: int | None
    others: int | None
    findings: int = 200
    line: int = LONG
    cut: str = ""


_DEPTHS: Final = (
    _Depth(WIDTH, WIDTH),
    _Depth(WIDTH, 24, 100, 500, cut="values_cut"),
    _Depth(WIDTH, None, 50, 250, cut="values_left_out"),
    _Depth(24, None, 50, 250, cut="values_left_out"),
    _Depth(24, _IDS, 20, 250, cut="fields_left_out"),
    _Depth(_IDS, _IDS, 10, 125, cut="fields_left_out"),
)


def plan(planned: Plan, judged: Judgement, say: Speech = ENGLISH) -> Iterator[str]:
    """Yield the lines of a review within `BUDGET`; the last one is the count.

    What does not fit is left out in this order, and that is said at the top: values, fields, the
    names of accounts that are created, updated or adopted. An account to block, unblock or forget
    is always named, even where that takes more than a comment holds.
    """
    told = list(sentences(planned, say, prose))
    # Where not even a short line an action fits, no line of any length has to be tried.
    depths = _DEPTHS if len(planned.actions) * _SHORTEST_LINE < BUDGET else _DEPTHS[-1:]
    for depth in depths:
        if made := _within(_document(planned, judged, say, depth, told), BUDGET):
            yield from made
            return
    yield from _shortest(planned, judged, say, told)


def _shortest(planned: Plan, judged: Judgement, say: Speech, told: Sequence[str]) -> Iterator[str]:
    """Yield a review that names what is destructive, and as many of the others as still fit."""
    others = [action for action in planned.actions if action.kind not in DESTRUCTIVE]

    def document(count: int, *, long: bool = False) -> Iterator[str]:
        left_out = frozenset(map(id, others[count:]))
        return _document(planned, judged, say, depth, told, left_out, long=long)

    for width in (WIDTH, 24, _IDS):
        depth = replace(_DEPTHS[-1], harmful=width)
        if _within(document(0), BUDGET // 2):
            break
    few, many = 0, len(others)
    while many - few > 50:  # an exact fit is not worth more tries
        half = (few + many) // 2
        few, many = (half, many) if _within(document(half), BUDGET) else (few, half)
    yield from _within(document(few), LIMIT) or document(few, long=True)


def _within(lines: Iterable[str], budget: int) -> list[str]:
    """Return the lines if they fit, else nothing; not one is made beyond the budget."""
    made: list[str] = []
    for line in lines:
        made.append(line)
        budget -= len(line) + 1
        if budget < 0:
            return []
    return made


def _document(
    planned: Plan,
    judged: Judgement,
    say: Speech,
    depth: _Depth,
    told: Sequence[str],
    left_out: frozenset[int] = frozenset(),
    *,
    long: bool = False,
) -> Iterator[str]:
    yield from _heading("plan", planned.workspace, say)
    against = "against_vendors" if planned.refreshed else "against_recorded"
    yield say(against, serial=planned.serial, as_of=code(planned.as_of))
    if planned.actions:
        yield say("fingerprint", fingerprint=code(planned.fingerprint))
    yield ""
    yield from _shortened(say, depth, len(left_out), long=long)
    findings = [*judged.findings, *planned.diagnostics]
    yield from _findings(findings, say, depth)
    if told:
        yield from (f"- {line}" for line in told)
        yield ""
    for kind in READING:
        actions = [action for action in planned.actions if action.kind is kind]
        if not actions:
            continue
        harmful = kind in DESTRUCTIVE
        named = [action for action in actions if id(action) not in left_out]
        width = depth.harmful if harmful else depth.others
        lines = fence(_actions(named, width), "diff") if named else []
        if rest := len(actions) - len(named):
            lines += ["", say("left_out", n=rest)]
        title = f"{SIGNS[kind]} {say(kind, n=len(actions))}"
        yield from [f"**{title}**", "", *lines, ""] if harmful else _folded(title, lines)
    yield from _notes(planned, judged, findings, say, depth)
    yield plan_line(planned.summary())


def _heading(what: str, workspace: str, say: Speech) -> Iterator[str]:
    yield mark(what, workspace)
    yield f"## {say(f'{what}_title', workspace=code(workspace))}"
    yield ""


def _shortened(say: Speech, depth: _Depth, left_out: int, *, long: bool) -> Iterator[str]:
    what = [say(depth.cut)] if depth.cut else []
    if left_out:
        what.append(say("some_left_out", n=left_out))
    if what:
        yield from [f"**{say('shortened', what=say.listed(what))}**", ""]
    if long:
        yield from [f"**{say('too_long')}**", ""]


def _findings(findings: Iterable[Diagnostic], say: Speech, depth: _Depth) -> Iterator[str]:
    """Yield what refuses the plan and what it warns of, each as it is told on a terminal."""
    findings = list(findings)
    for severity, title in ((Severity.ERROR, "refused"), (Severity.WARNING, "warnings")):
        if found := [one for one in findings if one.severity is severity]:
            yield f"**{say(title, n=len(found))}**"
            yield ""
            yield from _told(map(text.finding, found), say, depth)
            yield ""


def _told(texts: Iterable[str], say: Speech, depth: _Depth) -> list[str]:
    """Return texts, of one line or several, as a block of as many as the depth allows."""
    held = list(texts)
    lines = [
        visible(line, depth.line) for one in held[: depth.findings] for line in one.split("\n")
    ]
    if rest := len(held[depth.findings :]):
        lines.append(say("left_out", n=rest))
    return fence(lines)


def _notes(
    planned: Plan, judged: Judgement, findings: Iterable[Diagnostic], say: Speech, depth: _Depth
) -> Iterator[str]:
    if found := [one for one in findings if one.severity is Severity.INFO]:
        told = _told(map(text.finding, found), say, depth)
        yield from _folded(say("notes", n=len(found)), told)
    if notes := list(text.notes(planned, judged.approvals, say)):
        yield from _told(notes, say, depth)
        yield ""


def _folded(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"<details><summary>{title}</summary>"
    yield ""
    yield from lines
    yield ""
    yield "</details>"
    yield ""


def _actions(actions: Sequence[Action], width: int | None) -> Iterator[str]:
    if width == _IDS:
        yield from _ids(actions)
        return
    for action in actions:
        mark = MARKS[action.kind]
        yield f"{mark} {text.action_line(action).lstrip()[2:]}"
        yield from (f"{mark} {line[4:]}" for line in text.fields(action, width or 0))


def _ids(actions: Sequence[Action]) -> Iterator[str]:
    """Yield the ids of accounts, an app at a time, in lines of about `_COLUMNS` characters."""
    mark = MARKS[actions[0].kind]
    pairs = sorted(split(action.address) for action in actions)
    for app, ids in groupby(pairs, key=lambda pair: pair[0]):
        names = [_name(id) for _, id in ids]
        line = f"{mark} {visible(app)} ({len(names):,}):"
        for name in names:
            if len(line) + len(name) >= _COLUMNS:
                yield line
                line = mark
            line += f" {name}"
        yield line


def _name(id: str) -> str:
    """Return an id as one word."""
    shown = visible(id)
    return value(id) if " " in shown else shown


def drift(
    found: Drift, workspace: str, say: Speech = ENGLISH, budget: int = BUDGET
) -> Iterator[str]:
    """Yield the lines of a drift report within the budget; the last one says it in a sentence."""
    coverage, last = drift_sentences(found, say)
    names = [*found.drifted, *found.unread]
    for width in (WIDTH, 24):
        lines = list(_drifted(found, say, width))
        few = len(lines)
        if sum(map(len, lines)) + few < budget - 2000:
            break
    while sum(map(len, lines[:few])) + few > budget - 2000:
        few = few * 9 // 10
    shown = sum(line[0] in "!-#" and line[2] != " " for line in lines[:few])
    yield from _heading("drift", workspace, say)
    if few < len(lines):
        what = say("drift_left_out", n=len(names) - shown)
        yield f"**{say('shortened_drift', what=what)}**"
        yield ""
    if lines:
        yield from fence(lines[:few], "diff")
        yield ""
    if told := list(muted(found, say)):
        yield from [*fence(visible(line, LONG // 2) for line in told), ""]
    yield from [coverage, "", last]


def _drifted(found: Drift, say: Speech, width: int) -> Iterator[str]:
    for one in sorted(found.drifted, key=lambda one: one.kind == "changed"):
        mark = "-" if one.kind == "missing" else "!"
        yield f"{mark} {say(one.kind)}  {visible(one.address)}{perhaps(one.cause, say)}"
        for change in one.changes:
            yield (
                f"{mark}     {visible(change.path)}: "
                f"{say('recorded')} {value(change.recorded, width)}, "
                f"{say('observed')} {value(change.observed, width)}{perhaps(change.cause, say)}"
            )
    for address in found.unread:
        yield f"# {say('unread')}  {visible(address)}"
