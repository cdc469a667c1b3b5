"""Apply: a plan carried out, with an intent made durable before every vendor call."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, islice
from queue import Empty, SimpleQueue
from typing import TypeVar

from reconciler.accounts import Address, split
from reconciler.carry import DONE, Carried, Link
from reconciler.changes import Action, Adopt, Forget, Kind, Plan, to_json
from reconciler.conversation import Outcome, Result, Why
from reconciler.events import Completed, Errored, Event, Skipped, Splits, Started, Summary
from reconciler.lanes import (
    INTERRUPTED,
    UNREACHABLE,
    Back,
    Effects,
    Ended,
    Lane,
    Looked,
    Message,
    Pool,
    Step,
    Unit,
    Workers,
)
from reconciler.settle import settle
from reconciler.state import Intent, Reader, Record, Run, Settlement, Status, Writer, doubts

T = TypeVar("T")

MESSAGE = 512
"""Characters of a vendor's message that are kept."""

_TICK = 0.2
"""Seconds after which the loop looks again whether it shall stop."""


def apply(
    plan: Plan,
    recorded: Reader,
    writer: Writer,
    links: Mapping[str, Link],
    run: Run,
    effects: Effects,
) -> Iterator[Event]:
    """Carry out a plan that was guarded and is fresh; yield events, the last one a `Summary`.

    Intents are durable before their first byte; outcomes and records are committed in groups
    while other calls are under way. One account failing does not stop the others; a stop lets
    what is under way finish. Raises StateError or Locked if the store fails, after the calls
    under way have ended; what they did is then in doubt and settled by the next run.
    """
    running = _Run(plan, recorded, writer, links, run, effects)
    splits = Splits(plan.siblings)
    try:
        for event in running.work():
            splits.note(event)
            yield event
    finally:
        running.close()
    for event in running.end():
        splits.note(event)
        if isinstance(event, Summary):
            yield from splits.found()
        yield event


class _Run:
    """The main thread of one apply: it alone touches the store; workers only talk to vendors."""

    def __init__(
        self,
        plan: Plan,
        recorded: Reader,
        writer: Writer,
        links: Mapping[str, Link],
        run: Run,
        effects: Effects,
    ) -> None:
        self.recorded, self.writer, self.links, self.run = recorded, writer, links, run
        self.effects = effects
        # Never set, only waited for: a signal may set `stop` just when this thread holds its lock.
        self.pause = threading.Event()
        self.doubts: dict[Address, list[Intent]] = {}
        for intent in doubts(recorded, writer.scope):
            self.doubts.setdefault(intent.address, []).append(intent)
        self.inbox: SimpleQueue[Message] = SimpleQueue()
        self.workers = Workers(self.inbox, effects)
        self.applied: Counter[Kind] = Counter()
        self.failed = self.skipped = 0
        self.forgets = tuple(action for action in plan.actions if isinstance(action, Forget))
        others = (action for action in plan.actions if not isinstance(action, Forget))
        first = {where for entry in plan.siblings for where in entry.behind}
        self.lanes = tuple(
            self._lane(links[name], name, tuple(actions), first)
            for name, actions in groupby(others, key=lambda action: split(action.address)[0])
        )

    def _lane(
        self, link: Link, name: str, actions: Sequence[Action], first: Collection[Address]
    ) -> Lane:
        """Return the lane of one provider: what is behind its siblings, then all else."""
        urgent = [action for action in actions if action.address in first]
        others = [action for action in actions if action.address not in first]
        return Lane(
            link, Pool(link.concurrency, f"apply-{name}"), self._units(urgent), self._units(others)
        )

    def _units(self, actions: Sequence[Action]) -> Iterator[Unit]:
        """Yield the accounts of one provider, their records read in groups."""
        grouped = ((where, tuple(own)) for where, own in groupby(actions, key=lambda a: a.address))
        while group := _take(grouped, 512):
            records = {r.address: r for r in self.recorded.records([where for where, _ in group])}
            for where, own in group:
                steps = deque(Step(action, self.effects.new_id()) for action in own)
                record = records.get(where) or Record(where, {}, banned=False)
                doubts = self.doubts.get(where, ())
                coming = any(intent.known_absent and _creates(intent) for intent in doubts)
                yield Unit(where, steps, record, kicked=_kicked(doubts), coming=coming)

    def work(self) -> Iterator[Event]:
        """Do what is planned, until it is done or shall stop."""
        yield from self._forget()
        while True:
            for lane in self.lanes:
                yield from self._feed(lane)
            if all(lane.idle for lane in self.lanes):
                return
            yield from self._collect()

    def _forget(self) -> Iterator[Event]:
        """Drop what is to be forgotten; no vendor is asked, and its provider may be gone."""
        left = iter(self.forgets)
        while group := _take(left, 512):
            if self.effects.stop.is_set():
                yield from (self._skipped(action, "interrupted") for action in group)
                continue
            steps = [Step(action, self.effects.new_id()) for action in group]
            self.writer.intend(
                [
                    Intent(step.intent, self.run.id, step.action.address, to_json(step.action))
                    for step in steps
                ]
            )
            self.writer.settle([_settlement(step, Carried(DONE)) for step in steps])
            for step in steps:
                self.applied[Kind.FORGET] += 1
                yield Started(step.action)
                yield Completed(step.action, 0.0)

    def close(self) -> None:
        """Wait for the calls under way and start no other."""
        for lane in self.lanes:
            lane.pool.close()

    def end(self) -> Iterator[Event]:
        """Read back once more what is in doubt, as an answer may have come late; then sum up."""
        if not self.effects.stop.is_set():
            for event in settle(self.recorded, self.writer, self.links, self.run.started_at):
                # What an earlier run left behind is none of this run's actions.
                if event.run == self.run.id:
                    self.applied[event.kind] += event.held
                    self.failed += not event.held
                yield event
        # Another run may have settled what this one left in doubt; it could not say so any more.
        self.writer.check()
        yield Summary(
            dict(self.applied),
            self.failed,
            self.skipped,
            in_doubt=len(doubts(self.recorded, self.writer.scope)),
            interrupted=self.effects.stop.is_set(),
            blocked=next((lane.broken for lane in self.lanes if lane.broken), ""),
        )

    def _feed(self, lane: Lane) -> Iterator[Event]:
        """Keep a lane supplied: have read what must be read, write intents, hand out work."""
        if lane.broken or self.effects.stop.is_set():
            yield from self._skip_rest(lane)
            return
        # Enough intents ahead that no worker waits for a commit; all of them are in doubt after
        # a crash, so no more than that.
        size = max(lane.link.concurrency, lane.link.provider.capabilities.batch.get("create", 1))
        ahead = 4 * size
        while not lane.drained and lane.looking < 2 and len(lane.ready) < 2 * ahead:
            chunk = _take(lane.units, 2 * ahead)
            if not chunk and lane.later is not None:
                if lane.looking or lane.ready:
                    break
                lane.units, lane.later = lane.later, None
                continue
            lane.drained = not chunk
            asking = tuple(unit for unit in chunk if unit.needs_look)
            lane.ready.extend(unit for unit in chunk if not unit.needs_look)
            if asking:
                lane.looking += 1
                lane.pool.submit(partial(self.workers.look, lane, asking))
        room = ahead - lane.busy
        if lane.ready and room >= size:
            units = _whole(lane, [lane.ready.popleft() for _ in range(min(room, len(lane.ready)))])
            self.writer.intend([self._intent(unit, step) for unit in units for step in unit.steps])
            for unit in units:
                unit.intended = True
                yield from (Started(step.action) for step in unit.steps)
            self._submit(lane, units)

    def _intent(self, unit: Unit, step: Step) -> Intent:
        return Intent(
            step.intent, self.run.id, unit.address, to_json(step.action), unit.known_absent
        )

    def _submit(self, lane: Lane, units: Iterable[Unit]) -> None:
        """Hand accounts to the threads, creates in batches as the vendor takes them."""
        size = lane.link.provider.capabilities.batch.get("create", 1)
        creates: list[Unit] = []
        for unit in units:
            lane.busy += 1
            if unit.is_new:
                creates.append(unit)
            else:
                lane.pool.submit(partial(self.workers.run, self.workers.one, lane, (unit,)))
        while creates:
            batch, creates = tuple(creates[:size]), creates[size:]
            lane.pool.submit(partial(self.workers.run, self.workers.creates, lane, batch))

    def _collect(self) -> Iterator[Event]:
        """Take what the workers said, commit it in one transaction, and tell it."""
        ended: list[Ended] = []
        back: list[Back] = []
        for message in self._messages():
            match message:
                case Looked(lane, units, problem):
                    lane.looking -= 1
                    lane.ready.extend(units)
                    if problem is not None:
                        lane.broken = lane.broken or _blocked(problem)
                case Back():
                    back.append(message)
                case Ended():
                    ended.append(message)
        if ended:
            yield from self._commit(ended)
        # Only now, as a failed step takes those behind it away.
        for lane, units in back:
            lane.busy -= len(units)
            rest = [unit for unit in units if unit.steps]
            if rest and (lane.broken or self.effects.stop.is_set()):
                lane.ready.extendleft(reversed(rest))
            elif rest:
                self._submit(lane, rest)

    def _messages(self) -> Iterator[Message]:
        """Yield what has come; waits for the first, and for its like while others are busy."""
        try:
            yield self.inbox.get(timeout=_TICK)
            if any(lane.busy > 1 for lane in self.lanes):
                self.pause.wait(self.effects.gather)
            while True:
                yield self.inbox.get_nowait()
        except Empty:
            return

    def _commit(self, ended: Sequence[Ended]) -> Iterator[Event]:
        """Record outcomes in one transaction; what follows a failed step is not tried."""
        settlements: list[Settlement] = []
        events: list[Event] = []
        for lane, unit, step, carried, seconds in ended:
            settlements.append(_settlement(step, carried))
            settlements.extend(self._superseded(step, carried))
            events.append(self._told(lane, step, carried, seconds))
            if not carried.confirmed:
                doubt = carried.outcome.result is Result.AMBIGUOUS
                because = f"its {step.action.kind} {'is in doubt' if doubt else 'failed'}"
                for left in unit.steps:
                    settlements.append(Settlement(left.intent, Status.NOT_SENT, "", because))
                    events.append(self._skipped(left.action, because))
                unit.steps.clear()
        self.writer.settle(settlements)
        yield from events

    def _superseded(self, step: Step, carried: Carried) -> Iterator[Settlement]:
        """Close older doubts about the same thing, once it is certain what the vendor holds."""
        alike = next((kinds for kinds in _ALIKE if step.action.kind in kinds), ())
        if not carried.confirmed or not alike:
            return
        doubts = self.doubts.pop(step.action.address, [])
        for intent in doubts:
            if intent.action["action"] in alike:
                yield Settlement(intent.id, Status.NOT_SENT, "", "superseded by a later action")
        if others := [intent for intent in doubts if intent.action["action"] not in alike]:
            self.doubts[step.action.address] = others

    def _told(self, lane: Lane, step: Step, carried: Carried, seconds: float) -> Event:
        """Count one outcome and return its event; notice a lane that no call can get through."""
        outcome = carried.outcome
        if carried.confirmed:
            lane.unreachable = 0
            self.applied[step.action.kind] += 1
            return Completed(step.action, seconds, outcome.waiting)
        if self.effects.stop.is_set() and outcome.code == INTERRUPTED:
            return self._skipped(step.action, "interrupted")
        if outcome.code == UNREACHABLE:
            lane.unreachable += 1
        if outcome.why is Why.AUTH or lane.unreachable > lane.link.concurrency:
            lane.broken = lane.broken or _blocked(outcome)
        doubt = outcome.result is Result.AMBIGUOUS
        self.failed += not doubt
        return Errored(step.action, outcome.code, _why(step.action, outcome), in_doubt=doubt)

    def _skip_rest(self, lane: Lane) -> Iterator[Event]:
        """Tell that what is left of a lane is not tried, and close its intents."""
        because = lane.broken or "interrupted"
        left = [*lane.ready, *lane.units, *(lane.later or ())]
        lane.later = None
        lane.ready.clear()
        lane.drained = True
        if settlements := [
            Settlement(step.intent, Status.NOT_SENT, "", because)
            for unit in left
            if unit.intended
            for step in unit.steps
        ]:
            self.writer.settle(settlements)
        yield from (self._skipped(step.action, because) for unit in left for step in unit.steps)

    def _skipped(self, action: Action, because: str) -> Skipped:
        self.skipped += 1
        return Skipped(action, because)


_ALIKE = ((Kind.BLOCK, Kind.UNBLOCK), (Kind.CREATE,))
"""Kinds of which the last one done says how things are, whatever became of those before."""


def _kicked(doubts: Sequence[Intent]) -> bool:
    """Tell whether a block in doubt may have kicked.

    One that waits for a create of its own run was not sent: that create is recorded before.
    """
    unmade = {intent.run for intent in doubts if _creates(intent)}
    return any(
        intent.action["action"] == Kind.BLOCK and intent.run not in unmade for intent in doubts
    )


def _creates(intent: Intent) -> bool:
    return bool(intent.action["action"] == Kind.CREATE)


def _take(items: Iterator[T], most: int) -> list[T]:
    return list(islice(items, most))


def _whole(lane: Lane, units: Sequence[Unit]) -> list[Unit]:
    """Put creates back that only begin a batch, while others may come that fill it."""
    size = lane.link.provider.capabilities.batch.get("create", 1)
    coming = lane.ready or lane.looking
    over = sum(unit.is_new for unit in units) % size if coming else 0
    held: list[Unit] = []
    for unit in reversed(units):
        if unit.is_new and over:
            lane.ready.appendleft(unit)
            over -= 1
        else:
            held.append(unit)
    return held[::-1]


def _blocked(outcome: Outcome) -> str:
    """Return why no call of a lane can get through."""
    what = (
        "the vendor refuses the credentials"
        if outcome.why is Why.AUTH
        else "the vendor cannot be reached"
    )
    told = " ".join(part for part in (outcome.code, outcome.message) if part)
    return f"{what} ({told})"


_STATUS = {
    Result.CONFIRMED: Status.CONFIRMED,
    Result.REJECTED: Status.REJECTED,
    Result.NOT_SENT: Status.NOT_SENT,
    Result.AMBIGUOUS: Status.AMBIGUOUS,
}


def _settlement(step: Step, carried: Carried) -> Settlement:
    outcome, action = carried.outcome, step.action
    forget = action.address if isinstance(action, Forget) and carried.confirmed else None
    return Settlement(
        step.intent,
        _STATUS[outcome.result],
        outcome.code,
        outcome.message[:MESSAGE],
        None if forget else carried.record,
        forget,
    )


def _why(action: Action, outcome: Outcome) -> str:
    """Return the message of a failed action, with what to do where we know it."""
    match outcome.why:
        case Why.EXISTS:
            return (
                f"{action.address} already exists at the vendor and is not recorded; it was "
                f"left as it is. Take it over with: reconciler import {action.address} "
                "(or write `adopt: true`)"
            )
        case Why.MISSING if not isinstance(action, Adopt):
            return (
                f"{action.address} does not exist at the vendor ({outcome.code}); "
                "run: reconciler plan --refresh"
            )
        case Why.BANNED:
            return (
                f"{action.address} is banned at the vendor, which takes no other operation "
                f"({outcome.code}); run: reconciler plan --refresh"
            )
        case _:
            return outcome.message or "the vendor refused without a message"
