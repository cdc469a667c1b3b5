"""Lanes: the threads of an apply, a pool per vendor app; they never touch the store."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeAlias

from reconciler.accounts import Address, Observed
from reconciler.carry import Carried, Link, awaiting_ban, carry, carry_creates, look
from reconciler.changes import Action, Adopt, Block, Create, Unblock
from reconciler.conversation import Outcome, ReadFailed, Result, Why
from reconciler.errors import ReconcilerError
from reconciler.state import Record

INTERRUPTED, UNREACHABLE = "interrupted", "unreachable"
"""Codes of calls that were not sent: the run shall stop, or nobody answers (`transport`)."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What an apply is handed of the outside: time, names, and the wish to stop.

    `gather` is for how many seconds outcomes gather, so that one commit serves many; calls go on
    meanwhile.
    """

    monotonic: Callable[[], float]
    new_id: Callable[[], str]
    stop: threading.Event
    gather: float = 0.02


class Pool:
    """Threads that take jobs from a queue; a job tells its end itself and never raises.

    `concurrent.futures` makes a future with its lock for every job, which costs an apply a tenth
    of its speed and is of no use here.
    """

    def __init__(self, size: int, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(size)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Have a thread do the job."""
        self._jobs.put(job)

    def close(self) -> None:
        """Drop the jobs that nobody began, and wait for those under way."""
        while True:
            try:
                self._jobs.get_nowait()
            except Empty:
                break
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class Step(NamedTuple):
    """One action and the id of its intent."""

    action: Action
    intent: str


@dataclass(slots=True)
class Unit:
    """One account: its steps still to do, its record so far, and what was read of it.

    `kicked`: an earlier run may have ended its sessions. `coming`: one may have asked for it, and
    that call may yet be carried out.
    """

    address: Address
    steps: deque[Step]
    record: Record
    seen: Observed | None = None
    unread: Outcome | None = None
    kicked: bool = False
    coming: bool = False
    intended: bool = False

    @property
    def needs_look(self) -> bool:
        """Whether the vendor must be asked first.

        Is it absent, is it there to adopt; and before a ban begins or ends, is it still as planned.
        """
        return any(isinstance(step.action, Create | Adopt | Block | Unblock) for step in self.steps)

    @property
    def known_absent(self) -> bool:
        """Whether the vendor was just asked and did not know the account."""
        return self.seen is not None and not self.seen.exists

    @property
    def is_new(self) -> bool:
        """Whether it is to be registered, and may be in one call with others."""
        return isinstance(self.steps[0].action, Create) and self.known_absent


@dataclass(slots=True, eq=False)
class Lane:
    """One vendor app: its threads, and how its accounts stand.

    `later` is begun when all of `units` have been handed to the threads.
    """

    link: Link
    pool: Pool
    units: Iterator[Unit]
    later: Iterator[Unit] | None = None
    ready: deque[Unit] = field(default_factory=deque)
    looking: int = 0
    busy: int = 0
    drained: bool = False
    broken: str = ""
    unreachable: int = 0

    @property
    def idle(self) -> bool:
        """Whether nothing of it is left to do or under way."""
        return self.drained and not (self.ready or self.looking or self.busy)


class Looked(NamedTuple):
    """A group of accounts was read, or could not be."""

    lane: Lane
    units: tuple[Unit, ...]
    problem: Outcome | None = None


class Ended(NamedTuple):
    """One step ended after some seconds."""

    lane: Lane
    unit: Unit
    step: Step
    carried: Carried
    seconds: float


class Back(NamedTuple):
    """A job is over; `units` still have steps to do."""

    lane: Lane
    units: tuple[Unit, ...]


Message: TypeAlias = Looked | Ended | Back


class Workers:
    """What the threads do; each thing ends with a message in the inbox of the main thread."""

    def __init__(self, inbox: SimpleQueue[Message], effects: Effects) -> None:
        self.inbox, self.effects = inbox, effects

    def look(self, lane: Lane, units: tuple[Unit, ...]) -> None:
        """Ask the vendor which of the accounts exist; a bug fails them, not the run."""
        problem: Outcome | None = None
        seen: Mapping[Address, Observed] = {}
        try:
            if not self.effects.stop.is_set():
                seen = look(lane.link, [unit.address for unit in units])
        except ReadFailed as failed:
            problem = failed.outcome
        except ReconcilerError as failed:
            problem = Outcome(Result.NOT_SENT, failed.diagnostics[0].id, failed.told)
        except Exception as bug:
            problem = Outcome(Result.NOT_SENT, "bug", f"{type(bug).__name__} in reconciler itself")
        untold = problem or Outcome(Result.NOT_SENT, "", "the vendor did not say if it exists")
        for unit in units:
            unit.seen = seen.get(unit.address)
            if unit.seen is None:
                unit.unread = Outcome(Result.NOT_SENT, untold.code, untold.message, untold.why)
        stops = problem and (problem.why is Why.AUTH or problem.code == UNREACHABLE)
        self.inbox.put(Looked(lane, units, problem if stops else None))

    def run(
        self, job: Callable[[Lane, tuple[Unit, ...]], None], lane: Lane, units: tuple[Unit, ...]
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
                    self.inbox.put(Ended(lane, unit, unit.steps.popleft(), Carried(outcome), 0.0))
        finally:
            self.inbox.put(Back(lane, units))

    def creates(self, lane: Lane, units: tuple[Unit, ...]) -> None:
        """Register a batch; each account's further steps follow when it comes back."""
        began = self.effects.monotonic()
        actions = [unit.steps[0].action for unit in units]
        creates = [action for action in actions if isinstance(action, Create)]
        coming = {unit.address for unit in units if unit.coming}
        carried = carry_creates(lane.link, creates, coming)
        seconds = self.effects.monotonic() - began
        for unit in units:
            self._put(lane, unit, carried[unit.address], seconds)

    def one(self, lane: Lane, units: tuple[Unit, ...]) -> None:
        """Carry out the steps of one account until one fails.

        An adopted one comes back first: it is recorded before anything is done to it.
        """
        (unit,) = units
        while unit.steps and not self.effects.stop.is_set():
            action, began = unit.steps[0].action, self.effects.monotonic()
            carried = self._step(lane, unit)
            self._put(lane, unit, carried, self.effects.monotonic() - began)
            if isinstance(action, Adopt) or not carried.confirmed:
                return

    def _step(self, lane: Lane, unit: Unit) -> Carried:
        action = unit.steps[0].action
        if unit.unread is not None:
            return Carried(unit.unread)
        if isinstance(action, Create):
            # One that an earlier run asked for is settled by reading, and is not a stranger's.
            result = Result.AMBIGUOUS if unit.coming else Result.REJECTED
            return Carried(Outcome(result, "exists", "", Why.EXISTS))
        return carry(lane.link, action, unit.record, unit.seen, kick=not unit.kicked)

    def _put(self, lane: Lane, unit: Unit, carried: Carried, seconds: float) -> None:
        step = unit.steps.popleft()
        if carried.record is not None and isinstance(step.action, Create):
            unit.seen = None
            if unit.steps:
                carried = replace(carried, record=awaiting_ban(carried.record))
        unit.record = carried.record or unit.record
        self.inbox.put(Ended(lane, unit, step, carried, seconds))
