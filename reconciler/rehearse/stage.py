"""Stage: a workspace whose vendors and state are in memory; plans and applies are the real ones."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.accounts import Account, Address, Observed, flatten, split
from reconciler.applying import apply
from reconciler.capabilities import Capabilities
from reconciler.carry import Link
from reconciler.changes import Plan, vendor_mints
from reconciler.conversation import Sink, Token
from reconciler.decide import Question
from reconciler.drift import Drift, drift
from reconciler.events import Event
from reconciler.guard import Judgement, guard
from reconciler.lanes import Effects
from reconciler.planning import plan
from reconciler.providers import provider
from reconciler.refresh import read
from reconciler.rehearse.vendor import Time, Vendor
from reconciler.scenario import Given, Scenario, Sight, Trouble, When
from reconciler.state import Run
from reconciler.stores.memory import MemoryState
from reconciler.transport import Clock, Transport
from reconciler.values import Reference, digest, to_text
from reconciler.workspace import Workspace

LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When what is given was applied: every ban that has an end stood then."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one step: what was planned and judged, and, unless refused, what was done.

    `again` is the first plan after the apply that is not empty.
    """

    planned: Plan
    judged: Judgement
    drift: Drift | None = None
    events: tuple[Event, ...] = ()
    applied: bool = False
    calls: int = 0
    again: Plan | None = None


@dataclass(slots=True)
class Tokens:
    """Account tokens of a rehearsal: every reference has a value, and none is a secret.

    `names` tells what a value is that a vendor holds: a reference, or the sink it was minted for.
    """

    names: dict[str, str] = field(default_factory=dict)

    def ready(self, address: Address, token: Mapping[str, Any]) -> Token:
        """Return what a provider sets."""
        if "from" in token:
            return Reference(token["from"])
        if vendor_mints(token):
            return Sink(Reference(token["sink"]))
        minted = Reference(f"minted:{address}:{token['version']}")
        self.names[self.resolve(minted)] = token["sink"]
        return minted

    def resolve(self, reference: Reference) -> str:
        """Return the value of a reference."""
        value = f"token-{digest(reference.text.encode()).hex()[:32]}"
        self.names.setdefault(value, reference.text)
        return value

    def deliver(self, sink: Reference, value: str) -> None:
        """Take a token that the vendor minted."""
        self.names[value] = sink.text

    def key(self, address: Address, token: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Return nothing: the version of a token alone decides."""
        return ""


class Stage:
    """One scenario at its vendors. Nothing is read or written outside, and nothing is waited for.

    `clock` starts at the moment of the first step and passes only when the transport waits.
    """

    def __init__(
        self, workspace: Workspace, tables: Mapping[str, Capabilities], scenario: Scenario
    ) -> None:
        self.workspace, self.tables = workspace, tables
        first = scenario.steps[0].when.as_of if scenario.steps else LONG_AGO
        self.time = Time(first.timestamp())
        self.state = MemoryState(workspace.name, lambda: self.time.now)
        self.tokens = Tokens()
        self.vendors = {name: Vendor(app, self.time) for name, app in workspace.apps.items()}
        self.count = 0
        fields = _fields(scenario)
        self.links = {name: self._link(name, fields.get(name, ())) for name in self.vendors}

    def _link(self, name: str, fields: Iterable[str]) -> Link:
        vendor = self.vendors[name]
        speaks = provider(vendor.app.type, vendor.app.options, tuple(fields))
        transport = Transport(
            speaks,
            vendor.reached(),
            self.tokens.resolve,
            clock=Clock(
                lambda: self.time.now,
                lambda: self.time.now,
                self.time.sleep,
                lambda: 0.5,
                lambda: f"{self._number():032x}",
            ),
            deliver=self.tokens.deliver,
            connect=lambda *_: vendor,
        )
        return Link(speaks, transport.run, self.tokens, 1, lambda: None)

    def _number(self) -> int:
        self.count += 1
        return self.count

    def begin(self, given: Given) -> tuple[Event, ...]:
        """Have what is given applied, then changed at the vendors; return how the apply went."""
        accounts = [account._replace(adopt=False) for account in given.written.accounts]
        planned = plan(accounts, self.state, self._question(LONG_AGO, "forget"))
        events = self._apply(planned)
        self.edit(given.vendor)
        return events

    def edit(self, sights: Mapping[Address, Sight]) -> None:
        """Do at the vendors what others do there."""
        for where, sight in sights.items():
            name, id = split(where)
            self.vendors[name].edit(id, sight)

    def play(self, when: When, *, look: bool, rests: bool) -> Outcome:
        """Plan, judge and apply; `look` for drift first, and look whether it `rests` afterwards."""
        self.time.set(when.as_of.timestamp())
        self.edit(when.vendor)
        found = drift(self._read()) if look else None
        planned = self._plan(when, when.written.accounts, refresh=when.refresh)
        planned = replace(planned, allow=when.allow)
        limits, rules = self.workspace.limits, self.workspace.rules
        judged = guard(planned, self.state, limits, rules, when.allow)
        judged = replace(judged, findings=(*when.written.refused, *judged.findings))
        told = Outcome(planned, judged, found)
        if any(one.severity == "error" for one in (*judged.findings, *planned.diagnostics)):
            return told
        before = self._calls()
        events = self._troubled(planned, when.trouble)
        told = replace(told, events=events, applied=True, calls=self._calls() - before)
        return replace(told, again=self._again(when)) if rests else told

    def _again(self, when: When) -> Plan | None:
        """Return a plan that has anything to do, by what is recorded or by what vendors hold."""
        plans = (
            self._plan(when, when.written.accounts, refresh=refresh) for refresh in (False, True)
        )
        return next((planned for planned in plans if planned.actions), None)

    def _plan(self, when: When, accounts: Iterable[Account], *, refresh: bool) -> Plan:
        observed = None
        if refresh:
            observed = {record.address: seen for record, seen in self._read() if seen is not None}
        return plan(accounts, self.state, self._question(when.as_of, when.on_absent, observed))

    def _question(
        self,
        as_of: datetime,
        on_absent: str,
        observed: Mapping[Address, Observed] | None = None,
    ) -> Question:
        now = datetime.fromtimestamp(self.time.now, UTC)
        rates = {name: app.rate for name, app in self.workspace.apps.items()}
        return Question(
            as_of, now, self.tables, rates, on_absent, observed, reasons=self.workspace.ban_reasons
        )

    def _read(self) -> list[tuple[Any, Observed | None]]:
        return list(read(self.state.everything(), self.links))

    def _troubled(self, planned: Plan, troubles: tuple[Trouble, ...]) -> tuple[Event, ...]:
        for name, vendor in self.vendors.items():
            vendor.expect_trouble(
                one for one in troubles if one.address is None or split(one.address)[0] == name
            )
        try:
            return self._apply(planned)
        finally:
            for vendor in self.vendors.values():
                vendor.no_trouble()

    def _apply(self, planned: Plan) -> tuple[Event, ...]:
        if not planned.actions:
            return ()
        now = to_text(datetime.fromtimestamp(self.time.now, UTC))
        run = Run(f"rehearsal-{self._number()}", "apply", now, "rehearsal", planned.fingerprint)
        self.state.begin(run)
        effects = Effects(
            lambda: self.time.now, lambda: f"intent-{self._number()}", threading.Event(), 0.0
        )
        return tuple(apply(planned, self.state, self.state, self.links, run, effects))

    def _calls(self) -> int:
        return sum(vendor.calls for vendor in self.vendors.values())


def _fields(scenario: Scenario) -> dict[str, set[str]]:
    """Return, by provider, the paths that the scenario speaks of: open fields are read by name."""
    fields: dict[str, set[str]] = {}
    written = (scenario.given.written, *(step.when.written for step in scenario.steps))
    for one in written:
        for account in one.accounts:
            fields.setdefault(split(account.address)[0], set()).update(flatten(account.written()))
    return fields
