"""Text: plans, findings, events, drift and records for a terminal or a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from reconciler.changes import Action, Kind, Plan, Reason
from reconciler.diagnostics import Diagnostic, Severity
from reconciler.drift import Drift
from reconciler.events import (
    Completed,
    Errored,
    Event,
    Noted,
    Settled,
    Skipped,
    Split,
    Started,
    Summary,
    Throttled,
    Waiting,
)
from reconciler.guard import Approval
from reconciler.state import Entry, Lock, Record
from reconciler.views.fields import rows
from reconciler.views.history import OUTCOMES, Origin, deed, reasons
from reconciler.views.phrases import ENGLISH, Speech, drift_sentences, muted, perhaps, sentences
from reconciler.views.words import (
    DONE,
    LONG,
    SIGNS,
    WIDTH,
    apply_line,
    number,
    plan_line,
    split_line,
    value,
    visible,
)

DETAILED: Final = 1000
"""Actions up to which every field is shown; beyond it an action is one line."""

FEW: Final = 10
"""Notices of one of these kinds that are told one by one."""

_MANY: Final[Mapping[str, str]] = {
    "in-doubt": "an action whose outcome is not known",
    "waiting": "fields that wait",
}

_COLOURS: Final[Mapping[str, str]] = {
    Kind.CREATE: "32",
    Kind.UPDATE: "33",
    Kind.BLOCK: "31",
    Kind.UNBLOCK: "32",
    Kind.ADOPT: "36",
    Kind.FORGET: "35",
    "error": "31",
    "warning": "33",
    "info": "36",
}


class Painter:
    """Colours words, or leaves them: `on` is for terminals that want it."""

    def __init__(self, *, on: bool = False) -> None:
        self.on = on

    def __call__(self, text: str, colour: str) -> str:
        """Return the text in the colour of a kind of action or a severity."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.on else text


PLAIN: Final = Painter()


def finding(one: Diagnostic, paint: Painter = PLAIN) -> str:
    """Return `file:line:column: error: …` with detail and hint on lines of their own."""
    place = f"{visible(str(one.source), 500)}: " if one.source else ""
    text = f"{place}{paint(f'{one.severity}:', one.severity)} {visible(one.summary, 2000)}"
    if one.detail:
        text += f"\n    {visible(one.detail, 2000)}"
    if one.hint:
        text += f"\n    hint: {visible(one.hint, 2000)}"
    return text


def plan(
    planned: Plan,
    approvals: Iterable[Approval] = (),
    paint: Painter = PLAIN,
    say: Speech = ENGLISH,
) -> Iterator[str]:
    """Yield the lines of a plan; the last one is the count."""
    detailed = len(planned.actions) <= DETAILED
    yield from _heading(planned)
    for action in planned.actions:
        yield action_line(action, paint)
        if detailed:
            yield from fields(action)
    if planned.actions:
        yield ""
        if not detailed:
            yield (
                f"Fields are left out beyond {DETAILED:,} actions; --json has every one of them."
            )
    yield from _noticed(planned.diagnostics, paint)
    yield from notes(planned, approvals, say)
    if planned.actions:
        yield from sentences(planned, say, visible)
        yield f"Fingerprint: {planned.fingerprint}"
    yield plan_line(planned.summary())


def _noticed(findings: Iterable[Diagnostic], paint: Painter) -> Iterator[str]:
    """Yield what is no error; of what nobody has to act on, the first few and then a count."""
    told: Counter[str] = Counter()
    for one in findings:
        told[one.id] += 1
        if one.severity is not Severity.ERROR and (one.id not in _MANY or told[one.id] <= FEW):
            yield finding(one, paint)
    for id, text in _MANY.items():
        if told[id] > FEW:
            more = f"{number(told[id] - FEW, 'more account')}: {text}; --json names them"
            yield f"{paint('info:', 'info')} {more}"


def notes(planned: Plan, approvals: Iterable[Approval], say: Speech) -> Iterator[str]:
    """Yield which rules are overridden, who is to approve, and what the plan costs."""
    for over in planned.overrides:
        rule, by = visible(over.rule), visible(over.by)
        yield say("override", rule=rule, by=by, reason=visible(over.reason, LONG))
    for one in approvals:
        groups = say.listed(map(visible, one.groups), "or")
        yield say("approval", rule=visible(one.rule), groups=groups, n=len(one.addresses))
    if planned.actions:
        for name, cost in sorted(planned.cost.items()):
            yield say("cost", app=visible(name), n=cost.calls, seconds=cost.seconds)


def _heading(planned: Plan) -> Iterator[str]:
    if planned.actions:
        against = "what the vendors hold now" if planned.refreshed else "recorded state"
        yield (
            f"Workspace {visible(planned.workspace)}, against {against} "
            f"(serial {planned.serial}), as of {visible(planned.as_of)}:"
        )
        yield ""


def action_line(action: Action, paint: Painter = PLAIN) -> str:
    """Return sign and word, account, reason and place of an action."""
    sign = paint(f"{SIGNS[action.kind]} {action.kind:<7}", action.kind)
    place = f"  {visible(action.file)}:{action.line}" if action.file else ""
    reason = "" if action.reason is Reason.NOT_RECORDED else f"  ({action.reason})"
    return f"  {sign} {visible(action.address)}{reason}{place}"


def fields(action: Action, width: int = WIDTH) -> Iterator[str]:
    """Yield a line for every field of an action; without a width, the names of the fields only."""
    if not width:
        if paths := [row.path for row in rows(action)]:
            yield f"        {', '.join(paths)}"
        return
    found = list(rows(action, width))
    column = min(40, max((len(row.path) for row in found), default=0))
    for row in found:
        yield f"        {row.path:<{column}}  {row}"


def event(happened: Event, paint: Painter = PLAIN) -> str | None:
    """Return the line of an event, None for one that only the progress shows."""
    match happened:
        case Started():
            return None
        case Completed(action, seconds, waiting):
            later = f"; waiting: {', '.join(waiting)}" if waiting else ""
            sign = paint(f"{SIGNS[action.kind]} {DONE[action.kind]}", action.kind)
            return f"  {sign} {visible(action.address)} ({seconds:.2f} s){later}"
        case Errored(action, code, message, in_doubt):
            told = "in doubt" if in_doubt else "failed"
            shown = f" [{visible(code)}]" if code else ""
            return (
                f"  {paint('!', 'error')} {action.kind} of {visible(action.address)} "
                f"{told}{shown}: {visible(message, 512)}"
            )
        case Skipped(action, because):
            return f"  - {action.kind} of {visible(action.address)} skipped: {visible(because)}"
        case Throttled(provider, api, seconds):
            return f"  provider {provider}: {api} is throttled by the vendor, resting {seconds:g} s"
        case Settled(address, kind, held):
            told = "had been done" if held else "had not been done"
            return f"  settled: {kind} of {visible(address)} {told}"
        case Waiting(lock):
            return f"waiting for the lock held by {visible(lock.holder.name)} ({visible(lock.id)})"
        case Noted(diagnostic):
            return finding(diagnostic, paint)
        case Split():
            return f"{split_line(happened)}; run apply again, it goes first"
        case Summary(applied, failed, skipped, in_doubt):
            return apply_line(applied, failed, skipped, in_doubt, complete=happened.complete)


def drift(found: Drift, paint: Painter = PLAIN, say: Speech = ENGLISH) -> Iterator[str]:
    """Yield the lines of a drift report; the last one says it in one sentence."""
    for one in found.drifted:
        if one.kind == "missing":
            guess = perhaps(one.cause, say)
            yield f"  {paint('!', 'error')} missing  {visible(one.address)}{guess}"
            continue
        yield f"  {paint('~', 'warning')} changed  {visible(one.address)}"
        for change in one.changes:
            yield (
                f"        {visible(change.path)}: recorded {value(change.recorded)}, "
                f"the vendor holds {value(change.observed)}{perhaps(change.cause, say)}"
            )
    for address in found.unread:
        yield f"  ? unread   {visible(address)}"
    yield from muted(found, say)
    coverage, last = drift_sentences(found, say)
    if found.drifted or found.unread:
        yield from ("", coverage, last)
    else:  # one line, so that a job every hour says no more than it must
        yield f"{last} {coverage}"


def record(one: Record, origins: Mapping[str, Origin] | None = None) -> Iterator[str]:
    """Yield the lines of `state show`, each field with what set it last where that is known."""
    shape = one.to_json()
    yield (
        f"{visible(one.address)}  (version {one.version}, {visible(one.updated_at)}, "
        f"run {visible(one.run)})"
    )

    def origin(*paths: str) -> str:
        known = [origins[path] for path in paths if path in origins] if origins else []
        return f"  {max(known)}" if known else ""

    yield f"  banned  {value(one.is_banned)}{origin('banned')}"
    for section in ("profile", "configuration"):
        for name, held in shape["attributes"][section].items():
            path = f"{section}.{name}"
            below = (f"{path}.{key}" for key in held) if isinstance(held, Mapping) else ()
            yield f"  {section}.{visible(name)}  {value(held)}{origin(path, *below)}"
    for name in ("ban", "token", "labels", "manage", "on_absent", "protected"):
        if held := shape[name]:
            prefix = {"ban": "banned"}.get(name, name)
            below = (f"{prefix}.{key}" for key in held) if isinstance(held, Mapping) else ()
            yield f"  {name}  {value(held)}{origin(name, *below)}"
    if one.waiting:
        yield f"  waiting  {', '.join(one.waiting)}"
    if one.observed is not None:
        yield f"  observed  {value(shape['observed'])}"


def entry(one: Entry) -> str:
    """Return one line of history: when, who, what, how it ended, why, and where to look."""
    told = " ".join(part for part in (one.code, one.message) if part)
    why = reasons(one.action)
    place = one.action.get("source")
    where = f"{visible(place['file'])}:{place['line']}, " if place else ""
    return (
        f"{one.at}  {visible(one.run.operator)}  {deed(one)}: "
        f"{OUTCOMES[one.status]}{f' ({visible(told)})' if told else ''}"
        f"{f'  why: {why}' if why else ''}  see: {where}run {visible(one.run.id[:8])}"
    )


def locks(found: Iterable[Lock]) -> str:
    """Return the locks as `lock status` says them."""
    return "\n".join(map(lock, found)) or "The state is not locked."


def lock(held: Lock) -> str:
    """Return what is to be told of one lock."""
    who = held.holder
    apps = " and ".join(map(visible, held.apps or ()))
    what = f"The accounts of {apps} are locked" if apps else "Locked"
    return (
        f"{what} by {visible(who.name)} on {visible(who.host)} (process {who.pid}) for "
        f"{visible(who.operation)} since {visible(held.acquired_at)}, "
        f"lease until {visible(held.expires_at)}.\n"
        f"Lock id {visible(held.id)}, fence {held.fence}."
    )


def table(rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    """Yield rows as aligned columns."""
    shown = [tuple(visible(str(cell), 500) for cell in row) for row in rows]
    if not shown:
        return
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    for row in shown:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
