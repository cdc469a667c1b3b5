"""Mutants: the naive ways of doing what the product does, each put in its place by a patch."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from simulator_store import Keeper, Writes

from reconciler import applying, carry, lanes, settle
from reconciler.conversation import Answer, Result, Verdict
from reconciler.lanes import Unit
from reconciler.transport.answers import judge


@dataclass(frozen=True, slots=True)
class Mutant:
    """One naive variant: how it is put in place, and the laws of which one must break.

    `kind` is the vendor at which it is looked for, `way` with or without the transport.
    """

    put: object
    laws: tuple[str, ...]
    kind: str = "yunxin"
    way: str = "short"


class SavedAtEnd(Writes):
    """Gathers everything in memory and writes it when the run is over."""

    def __init__(self, keeper, fence):
        super().__init__(keeper, fence)
        self.kept = []

    def intend(self, intents):
        self.kept.append(lambda: Writes.intend(self, intents))

    def settle(self, settlements):
        self.kept.append(lambda: Writes.settle(self, settlements))

    def release(self):
        for write in self.kept:
            write()
        super().release()


class NoIntents(Writes):
    """Writes down what was done, and nothing before it is done."""

    def intend(self, intents):
        """Nobody needs to know."""

    def settle(self, settlements):
        with self.write("settle") as commit:
            records = {s.record.address: s.record for s in settlements if s.record}
            records |= {s.forget: None for s in settlements if s.forget}
            commit.append(lambda: self.put(records))


class Unfenced(Writes):
    """Believes that the lock is still its own."""

    def fenced(self):
        """It was, when this run began."""


def writes(cls):
    return lambda patch: patch.setattr(Keeper, "Writes", cls)


def trusting(patch):
    """A timeout counts as a call that was not carried out."""

    def mutated(provider, request, facts, secrets):
        if facts.error:
            return Answer(Verdict(Result.NOT_SENT, "timeout", "no answer came"))
        return judge(provider, request, facts, secrets)

    patch.setattr("simulator_vendor.judge", mutated)
    patch.setattr("reconciler.transport.judge", mutated)


def failing(patch):
    """A create whose reply is lost counts as failed."""
    created = carry._created

    def mutated(link, action, outcome, **more):
        if outcome.result is Result.AMBIGUOUS:
            outcome = replace(outcome, result=Result.REJECTED)
        return created(link, action, outcome, **more)

    patch.setattr(carry, "_created", mutated)


def kicking(patch):
    """A ban whose reply is lost is sent again as it was, kick and all."""
    sent = carry._sent
    patch.setattr(carry, "_sent", lambda *given, kick: sent(*given, kick=True))


def unlimited(patch):
    """Apply trusts that somebody has judged the plan before."""
    patch.setattr("reconciler.session.apply.refuse", lambda planned, judged: None)


def blind(patch):
    """A create asks nobody whether the account exists."""
    patch.setattr(Unit, "needs_look", property(lambda unit: False))
    patch.setattr(Unit, "known_absent", property(lambda unit: True))


def hasty(patch):
    """What is not found at once is believed never to come."""
    patch.setattr(settle, "LATE", timedelta(0))


def forgetful(patch):
    """An old create that is found done puts the record back to its own."""
    done = settle._done

    def mutated(link, intent, record, seen):
        return done(link, intent, record and replace(record, run=intent.run), seen)

    patch.setattr(settle, "_done", mutated)


def certain(patch):
    """What cannot be read is believed to be as it was."""
    patch.setattr(settle, "_undone", lambda action, record, seen: None)


def claiming(patch):
    """An account that is found is believed to hold all that was asked for it."""
    made = carry.made
    patch.setattr(settle, "made", lambda link, action, *, seen=None: made(link, action))


def endless(patch):
    """A doubt about an account that is let go of is kept for ever."""

    def mutated(link, intents, records, sights, now):
        known = dict(records)
        for intent in intents:
            if intent.address not in known and intent.action["action"] == "block":
                sights = {where: s for where, s in sights.items() if where != intent.address}
        return decide(link, intents, records, sights, now)

    decide = settle._decide
    patch.setattr(settle, "_decide", mutated)


def unchecked(patch):
    """The lock is looked at once per action, and not before every request."""
    patch.setattr("simulator_process.CHECKS", False)


def proud(patch):
    """A run that has lost its lock sums up as if nothing had happened."""
    end = applying._Run.end

    def mutated(self):
        with unlocked(self.writer):
            yield from end(self)

    patch.setattr(applying._Run, "end", mutated)


@contextmanager
def unlocked(writer):
    writer.check = lambda: None
    try:
        yield
    finally:
        del writer.check


def at_once(patch):
    """An adopted account is changed before it is recorded."""

    def mutated(self, lane, units):
        (unit,) = units
        while unit.steps:
            carried = self._step(lane, unit)
            self._put(lane, unit, carried, 0.0)
            if not carried.confirmed:
                return

    patch.setattr(lanes.Workers, "one", mutated)


MUTANTS = {
    "save at the end": Mutant(writes(SavedAtEnd), ("intent",)),
    "no intents": Mutant(writes(NoIntents), ("intent",)),
    "no fence in the write": Mutant(writes(Unfenced), ("fence",)),
    "trust the exception type": Mutant(trusting, ("kick", "orphan"), way="long"),
    "an ambiguous create is a failed one": Mutant(failing, ("orphan",)),
    "resend the kick": Mutant(kicking, ("kick",)),
    "create without reading before": Mutant(blind, ("overwrites", "settles"), "tencent"),
    "an absent create never comes": Mutant(hasty, ("orphan",)),
    "what is found holds everything": Mutant(claiming, ("claims",)),
    "doubts are kept for ever": Mutant(endless, ("settles",), "commsease"),
}
"""What the simulator finds within some hundred schedules."""
