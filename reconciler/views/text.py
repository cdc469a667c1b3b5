"""Text: plans, findings, events, drift and records for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from reconciler.changes import Action, Block, Change, Kind, Plan, Reason, vendor_mints
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
from reconciler.views.words import (
    DONE,
    SIGNS,
    apply_line,
    number,
    plan_line,
    split_line,
    value,
    visible,
)

DETAILED: Final = 1000
"""Actions up to which every field is shown; beyond it an action is one line."""

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
    planned: Plan, approvals: Iterable[Approval] = (), paint: Painter = PLAIN
) -> Iterator[str]:
    """Yield the lines of a plan; the last one is the count."""
    detailed = len(planned.actions) <= DETAILED
    yield from _heading(planned)
    for action in planned.actions:
        yield _action(action, paint)
        if detailed:
            yield from _changes(action)
    if planned.actions:
        yield ""
        if not detailed:
            yield (
                f"Fields are left out beyond {DETAILED:,} actions; --json has every one of them."
            )
    for one in planned.diagnostics:
        if one.severity is not Severity.ERROR:
            yield finding(one, paint)
    for approval in approvals:
        groups = " or ".join(visible(group) for group in approval.groups)
        yield (
            f"approval: rule {visible(approval.rule)} wants {groups} to approve "
            f"{number(len(approval.addresses), 'account')}"
        )
    if planned.actions:
        for name, cost in sorted(planned.cost.items()):
            yield f"Cost: {visible(name)}: {number(cost.calls, 'call')}, about {cost.seconds:g} s"
        yield f"Fingerprint: {planned.fingerprint}"
    yield paint_line(planned)


def paint_line(planned: Plan) -> str:
    """Return the last line of the plan."""
    return plan_line(planned.summary())


def _heading(planned: Plan) -> Iterator[str]:
    if planned.actions:
        against = "what the vendors hold now" if planned.refreshed else "recorded state"
        yield (
            f"Workspace {visible(planned.workspace)}, against {against} "
            f"(serial {planned.serial}), as of {visible(planned.as_of)}:"
        )
        yield ""


def _action(action: Action, paint: Painter) -> str:
    sign = paint(f"{SIGNS[action.kind]} {action.kind:<7}", action.kind)
    place = f"  {visible(action.file)}:{action.line}" if action.file else ""
    reason = "" if action.reason is Reason.NOT_RECORDED else f"  ({action.reason})"
    return f"  {sign} {visible(action.address)}{reason}{place}"


def _changes(action: Action) -> Iterator[str]:
    changes = [change for change in action.changes if change.path != "banned"]
    width = min(40, max((len(change.path) for change in changes), default=0))
    for change in changes:
        yield f"        {visible(change.path):<{width}}  {_change(action, change)}"
    if isinstance(action, Block) and not any(c.path == "banned.until" for c in changes):
        until = "for good" if action.reason is not Reason.ABSENT else "for good: it left the YAML"
        yield f"        {'banned':<{width}}  {until}"


def _change(action: Action, change: Change) -> str:
    if change.token is not None:
        made = "minted by the vendor" if vendor_mints(change.token) else "minted"
        origin = change.token.get("from") or f"{made}, delivered to {change.token.get('sink')}"
        before = visible(str(change.before or "(not set)"))
        return f"{before} -> {visible(str(change.after))}  from {visible(str(origin))}"
    if change.removed:
        after = "no longer recorded" if change.after is None else f"{value(change.after)} (default)"
        return f"{value(change.before)} -> {after}"
    if change.unknown:
        return f"(unknown) -> {value(change.after)}"
    if action.kind is Kind.CREATE or (isinstance(action, Block) and change.before is None):
        return value(change.after)
    return f"{value(change.before)} -> {value(change.after)}"


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


def drift(found: Drift, paint: Painter = PLAIN) -> Iterator[str]:
    """Yield the lines of a drift report; the last one says it in one sentence."""
    for one in found.drifted:
        if one.kind == "missing":
            yield f"  {paint('!', 'error')} missing  {visible(one.address)}"
            continue
        yield f"  {paint('~', 'warning')} changed  {visible(one.address)}"
        for change in one.changes:
            yield (
                f"        {visible(change.path)}: recorded {value(change.recorded)}, "
                f"the vendor holds {value(change.observed)}"
            )
    for address in found.unread:
        yield f"  ? unread   {visible(address)}"
    if found.drifted or found.unread:
        yield ""
    yield (
        f"Coverage: {number(found.checked, 'field')} checked at the vendors, "
        f"{found.recorded_only} only recorded."
    )
    counts = found.summary()
    if found.drifted:
        yield (
            f"Drift: {counts['changed']} changed, {counts['missing']} missing, "
            f"{counts['unchanged']} unchanged."
        )
    elif found.unread:
        yield (
            f"Drift is not known of {number(len(found.unread), 'account')} that could not be read; "
            f"{counts['unchanged']} unchanged."
        )
    else:
        yield f"No drift. {number(counts['unchanged'], 'account')} as recorded."


def record(one: Record) -> Iterator[str]:
    """Yield the lines of `state show`."""
    shape = one.to_json()
    yield (
        f"{visible(one.address)}  (version {one.version}, {visible(one.updated_at)}, "
        f"run {visible(one.run)})"
    )
    yield f"  banned  {value(one.is_banned)}"
    for section in ("profile", "configuration"):
        for name, held in shape["attributes"][section].items():
            yield f"  {section}.{visible(name)}  {value(held)}"
    for name in ("ban", "token", "labels", "on_absent", "protected"):
        if shape[name]:
            yield f"  {name}  {value(shape[name])}"
    if one.waiting:
        yield f"  waiting  {', '.join(one.waiting)}"
    if one.observed is not None:
        yield f"  observed  {value(shape['observed'])}"


def entry(one: Entry) -> str:
    """Return one line of history."""
    action = one.action
    told = " ".join(part for part in (one.code, one.message) if part)
    return (
        f"{one.at}  {action.get('action', one.run.operation):<8} {visible(one.address)}  "
        f"{one.status}{f' ({visible(told)})' if told else ''}  "
        f"by {visible(one.run.operator)} in run {one.run.id}"
    )


def lock(held: Lock | None) -> str:
    """Return the lock as `lock status` says it."""
    if held is None:
        return "The state is not locked."
    who = held.holder
    return (
        f"Locked by {visible(who.name)} on {visible(who.host)} (process {who.pid}) for "
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
