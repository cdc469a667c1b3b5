"""Apply: a plan carried out, with an intent made durable before every vendor call."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeAlias, TypeVar

from reconciler.accounts import Address, Observed, split
from reconciler.carry import Carried, Link, awaiting_ban, carry, carry_creates, look
from reconciler.changes import Action, Adopt, Create, Forget, Kind, Plan, to_json
from reconciler.conversation import Outcome, ReadFailed, Result, Why
from reconciler.errors import ReconcilerError
from reconciler.events import Completed, Errored, Event, Skipped, Started, Summary
from reconciler.settle import settle
from reconciler.state import Intent, Reader, Record, Run, Settlement, Status, Writer

T = TypeVar("T")

MESSAGE = 512
"""Characters of a vendor's message that are kept."""

_TICK = 0.2
"""Seconds after which the loop looks again whether it shall stop."""

INTERRUPTED, UNREACHABLE = "interrupted", "unreachable"
"""Codes of calls that were not sent: the run shall stop, or nobody answers (`transport`)."""

_GATHER = 0.02
"""Seconds for which outcomes gather, so that one commit serves many; calls go on meanwhile."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What an apply is handed of the outside: time, names, and the wish to stop."""

    monotonic: Callable[[], float]
    new_id: Callable[[], str]
    stop: threading.Event


class _Step(NamedTuple):
    """One action and the id of its intent."""

    action: Action
    intent: str


@dataclass(slots=True)
class _Unit:
    """One account: its steps still to do, its record so far, and what was read of it."""

    address: Address
    steps: deque[_Step]
    record: Record
    seen: Observed | None = None
    unread: Outcome | None = None
    intended: bool = False

    @property
    def needs_look(self) -> bool:
        """Whether the vendor must be asked first: is it absent, or is it there to adopt."""
        return isinstance(self.steps[0].action, Create | Adopt)


@dataclass(slots=True, eq=False)
class _Lane:
    """One vendor app: its threads, and how its accounts stand."""

    link: Link
    pool: ThreadPoolExecutor
    units: Iterator[_Unit]
    ready: deque[_Unit] = field(default_factory=deque)
    looking: int = 0
    busy: int = 0
    drained: bool = False
    broken: str = ""
    unreachable: int = 0

    @property
    def idle(self) -> bool:
        """Whether nothing of it is left to do or under way."""
        return self.drained and not (self.ready or self.looking or self.busy)


class _Looked(NamedTuple):
    """A group of accounts was read, or could not be."""

    lane: _Lane
    units: tuple[_Unit, ...]
    problem: Outcome | None = None


class _Ended(NamedTuple):
    """One step ended after some seconds."""

    lane: _Lane
    unit: _Unit
    step: _Step
    carried: Carried
    seconds: float


class _Back(NamedTuple):
    """A job is over; `units` still have steps to do."""

    lane: _Lane
    units: tuple[_Unit, ...]


_Message: TypeAlias = _Looked | _Ended | _Back


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
    try:
        yield from running.work()
    finally:
        running.close()
    yield from running.end()


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
        self.inbox: SimpleQueue[_Message] = SimpleQueue()
        self.applied: Counter[Kind] = Counter()
        self.failed = self.skipped = 0
        self.lanes = tuple(
            _Lane(
                links[name],
                ThreadPoolExecutor(links[name].concurrency, f"apply-{name}"),
                self._units(tuple(actions)),
            )
            for name, actions in groupby(plan.actions, key=lambda action: split(action.address)[0])
        )

    def _units(self, actions: Sequence[Action]) -> Iterator[_Unit]:
        """Yield the accounts of one provider, their records read in groups."""
        grouped = ((where, tuple(own)) for where, own in groupby(actions, key=lambda a: a.address))
        while group := _take(grouped, 512):
            records = {r.address: r for r in self.recorded.records([where for where, _ in group])}
            for where, own in group:
                steps = deque(_Step(action, self.effects.new_id()) for action in own)
                yield _Unit(where, steps, records.get(where) or Record(where, {}, banned=False))

    def work(self) -> Iterator[Event]:
        """Do what is planned, until it is done or shall stop."""
        while True:
            for lane in self.lanes:
                yield from self._feed(lane)
            if all(lane.idle for lane in self.lanes):
                return
            yield from self._collect()

    def close(self) -> None:
        """Wait for the calls under way and start no other."""
        for lane in self.lanes:
            lane.pool.shutdown(wait=True, cancel_futures=True)

    def end(self) -> Iterator[Event]:
        """Read back once more what is in doubt, as an answer may have come late; then sum up."""
        if not self.effects.stop.is_set():
            for event in settle(self.recorded, self.writer, self.links):
                self.applied[event.kind] += event.held
                self.failed += not event.held
                yield event
        yield Summary(
            dict(self.applied),
            self.failed,
            self.skipped,
            in_doubt=len(self.recorded.unresolved()),
            interrupted=self.effects.stop.is_set(),
        )

    def _feed(self, lane: _Lane) -> Iterator[Event]:
        """Keep a lane supplied: have read what must be read, write intents, hand out work."""
        if lane.broken or self.effects.stop.is_set():
            yield from self._skip_rest(lane)
            return
        # Enough intents ahead that no worker waits for a commit; all of them are in doubt after
        # a crash, so no more than that.
        ahead = 4 * lane.link.concurrency
        while not lane.drained and lane.looking < 2 and len(lane.ready) < 2 * ahead:
            chunk = _take(lane.units, 2 * ahead)
            lane.drained = not chunk
            asking = tuple(unit for unit in chunk if unit.needs_look)
            lane.ready.extend(unit for unit in chunk if not unit.needs_look)
            if asking:
                lane.looking += 1
                lane.pool.submit(self._look, lane, asking)
        room = ahead - lane.busy
        if lane.ready and room >= lane.link.concurrency:
            units = [lane.ready.popleft() for _ in range(min(room, len(lane.ready)))]
            self.writer.intend([self._intent(unit, step) for unit in units for step in unit.steps])
            for unit in units:
                unit.intended = True
                yield from (Started(step.action) for step in unit.steps)
            self._submit(lane, units)

    def _intent(self, unit: _Unit, step: _Step) -> Intent:
        absent = unit.seen is not None and not unit.seen.exists
        return Intent(step.intent, self.run.id, unit.address, to_json(step.action), absent)

    def _submit(self, lane: _Lane, units: Iterable[_Unit]) -> None:
        """Hand accounts to the threads, creates in batches as the vendor takes them."""
        size = lane.link.provider.capabilities.batch.get("create", 1)
        creates: list[_Unit] = []
        for unit in units:
            lane.busy += 1
            if isinstance(unit.steps[0].action, Create) and unit.unread is None and _absent(unit):
                creates.append(unit)
            else:
                lane.pool.submit(self._guarded, self._one, lane, (unit,))
        while creates:
            batch, creates = tuple(creates[:size]), creates[size:]
            lane.pool.submit(self._guarded, self._creates, lane, batch)

    def _collect(self) -> Iterator[Event]:
        """Take what the workers said, commit it in one transaction, and tell it."""
        ended: list[_Ended] = []
        back: list[_Back] = []
        for message in self._messages():
            match message:
                case _Looked(lane, units, problem):
                    lane.looking -= 1
                    lane.ready.extend(units)
                    if problem is not None:
                        lane.broken = lane.broken or _blocked(problem)
                case _Back():
                    back.append(message)
                case _Ended():
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

    def _messages(self) -> Iterator[_Message]:
        """Yield what has come; waits for the first, and for its like while others are busy."""
        try:
            yield self.inbox.get(timeout=_TICK)
            if any(lane.busy > 1 for lane in self.lanes):
                self.effects.stop.wait(_GATHER)
            while True:
                yield self.inbox.get_nowait()
        except Empty:
            return

    def _commit(self, ended: Sequence[_Ended]) -> Iterator[Event]:
        """Record outcomes in one transaction; what follows a failed step is not tried."""
        settlements: list[Settlement] = []
        events: list[Event] = []
        for lane, unit, step, carried, seconds in ended:
            settlements.append(_settlement(step, carried))
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

    def _told(self, lane: _Lane, step: _Step, carried: Carried, seconds: float) -> Event:
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

    def _skip_rest(self, lane: _Lane) -> Iterator[Event]:
        """Tell that what is left of a lane is not tried, and close its intents."""
        because = lane.broken or "interrupted"
        left = [*lane.ready, *lane.units]
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

    # What follows runs in the workers.

    def _look(self, lane: _Lane, units: tuple[_Unit, ...]) -> None:
        problem: Outcome | None = None
        seen: Mapping[Address, Observed] = {}
        try:
            if not self.effects.stop.is_set():
                seen = look(lane.link, [unit.address for unit in units])
        except ReadFailed as failed:
            problem = failed.outcome
        except ReconcilerError as failed:
            problem = Outcome(Result.NOT_SENT, failed.diagnostics[0].id, str(failed))
        except Exception as bug:
            problem = Outcome(Result.NOT_SENT, "bug", f"{type(bug).__name__} in reconciler itself")
        untold = problem or Outcome(Result.NOT_SENT, "", "the vendor did not say if it exists")
        for unit in units:
            unit.seen = seen.get(unit.address)
            if unit.seen is None:
                unit.unread = Outcome(Result.NOT_SENT, untold.code, untold.message, untold.why)
        stops = problem and (problem.why is Why.AUTH or problem.code == UNREACHABLE)
        self.inbox.put(_Looked(lane, units, problem if stops else None))

    def _guarded(
        self, job: Callable[[_Lane, tuple[_Unit, ...]], None], lane: _Lane, units: tuple[_Unit, ...]
    ) -> None:
        """Run a job and always give its accounts back; a bug fails an account, not the run."""
        try:
            if not (lane.broken or self.effects.stop.is_set()):
                job(lane, units)
        except Exception as bug:
            for unit in units:
                if unit.steps:
                    # What a bug leaves behind is unknown, so it is read back like a lost reply.
                    name = type(bug).__name__
                    outcome = Outcome(Result.AMBIGUOUS, "bug", f"{name} in reconciler itself")
                    self.inbox.put(_Ended(lane, unit, unit.steps.popleft(), Carried(outcome), 0.0))
        finally:
            self.inbox.put(_Back(lane, units))

    def _creates(self, lane: _Lane, units: tuple[_Unit, ...]) -> None:
        """Register a batch; each account's further steps follow when it comes back."""
        began = self.effects.monotonic()
        actions = [unit.steps[0].action for unit in units]
        carried = carry_creates(lane.link, [a for a in actions if isinstance(a, Create)])
        seconds = self.effects.monotonic() - began
        for unit in units:
            self._put(lane, unit, carried[unit.address], seconds)

    def _one(self, lane: _Lane, units: tuple[_Unit, ...]) -> None:
        """Carry out the steps of one account until one fails."""
        (unit,) = units
        while unit.steps and not self.effects.stop.is_set():
            began = self.effects.monotonic()
            carried = self._step(lane, unit)
            self._put(lane, unit, carried, self.effects.monotonic() - began)
            if not carried.confirmed:
                return

    def _step(self, lane: _Lane, unit: _Unit) -> Carried:
        action = unit.steps[0].action
        if unit.unread is not None:
            return Carried(unit.unread)
        if isinstance(action, Create):
            return Carried(Outcome(Result.REJECTED, "exists", "", Why.EXISTS))
        return carry(lane.link, action, unit.record, unit.seen)

    def _put(self, lane: _Lane, unit: _Unit, carried: Carried, seconds: float) -> None:
        step = unit.steps.popleft()
        if carried.record is not None and isinstance(step.action, Create):
            unit.seen = None
            if unit.steps:
                carried = replace(carried, record=awaiting_ban(carried.record))
        unit.record = carried.record or unit.record
        self.inbox.put(_Ended(lane, unit, step, carried, seconds))


def _take(items: Iterator[T], most: int) -> list[T]:
    return list(islice(items, most))


def _blocked(outcome: Outcome) -> str:
    """Return why no call of a lane can get through."""
    what = (
        "the vendor refuses the credentials"
        if outcome.why is Why.AUTH
        else "the vendor cannot be reached"
    )
    told = " ".join(part for part in (outcome.code, outcome.message) if part)
    return f"{what} ({told})"


def _absent(unit: _Unit) -> bool:
    return unit.seen is not None and not unit.seen.exists


_STATUS = {
    Result.CONFIRMED: Status.CONFIRMED,
    Result.REJECTED: Status.REJECTED,
    Result.NOT_SENT: Status.NOT_SENT,
    Result.AMBIGUOUS: Status.AMBIGUOUS,
}


def _settlement(step: _Step, carried: Carried) -> Settlement:
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
