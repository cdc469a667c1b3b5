"""Scenario: a story about a workspace and what is expected of it, as a user writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from reconciler.accounts import Account, Address
from reconciler.changes import Kind
from reconciler.diagnostics import Diagnostic, Source

MISSING = "missing"
"""What stands for an account that the vendor does not have."""


class Written(NamedTuple):
    """What the account files say at one moment, and what reading them finds.

    `errors` are those of `validate`, `refused` those that refuse a plan.
    """

    accounts: tuple[Account, ...] = ()
    errors: tuple[Diagnostic, ...] = ()
    refused: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()


NOTHING = Written()


@dataclass(frozen=True, slots=True)
class Sight:
    """What is said of one account at its vendor; of what is None nothing is said.

    `profile` maps fields, also `custom.Key`, and `configuration` flags. `token` is the reference
    whose value the vendor holds. `kicks` counts how often sessions were ended, `notified` is what
    they were told last, `logged_in` whether anybody ever did.
    """

    source: Source
    exists: bool = True
    profile: Mapping[str, Any] | None = None
    configuration: Mapping[str, bool] | None = None
    banned: bool | None = None
    logged_in: bool | None = None
    token: str | None = None
    kicks: int | None = None
    notified: str | None = None


class Trouble(NamedTuple):
    """One kind of call that the vendor does not take, for one account or for any."""

    call: Literal["create", "profile", "block"]
    answers: Literal["refused", "throttled"]
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """How things are before: accounts that were applied, and what the vendor holds otherwise."""

    source: Source
    written: Written = NOTHING
    vendor: Mapping[Address, Sight] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class When:
    """What happens: what the account files say now, and under what a plan is asked for."""

    written: Written
    as_of: datetime
    on_absent: str
    vendor: Mapping[Address, Sight] = field(default_factory=dict)
    allow: Mapping[str, int] = field(default_factory=dict)
    refresh: bool = False
    trouble: tuple[Trouble, ...] = ()


class Line(NamedTuple):
    """One action that is expected; what is None or empty is not looked at."""

    kind: Kind
    address: Address
    reason: str = ""
    changes: Mapping[str, tuple[Any, Any]] | None = None


class Asked(NamedTuple):
    """A finding that is expected, by id or rule; without addresses for whatever it is about."""

    id: str
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Expect:
    """What is expected; what is None is not looked at, all else is compared whole.

    `places` says where each key is written. `drift` maps an account to its fields, each with what
    is recorded and what is observed, or to None where it is missing. `rests`: the plan after the
    apply is empty. `calls` counts those that change something at a vendor.
    """

    places: Mapping[str, Source]
    actions: tuple[Line, ...] | None = None
    invalid: tuple[Asked, ...] = ()
    refused: tuple[Asked, ...] = ()
    warnings: tuple[Asked, ...] = ()
    approvals: Mapping[str, tuple[str, ...]] | None = None
    waiting: Mapping[Address, tuple[str, ...]] = field(default_factory=dict)
    failed: tuple[Address, ...] = ()
    drift: Mapping[Address, Mapping[str, tuple[Any, Any]] | None] | None = None
    vendor: Mapping[Address, Sight] = field(default_factory=dict)
    rests: bool = True
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One change and what is expected of it."""

    source: Source
    when: When
    expect: Expect


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story: how things are, and one step or several."""

    name: str
    source: Source
    given: Given
    steps: tuple[Step, ...]


class Mismatch(NamedTuple):
    """Something that is not as expected, and where the expectation is written.

    `step` counts from 1, 0 for what was given. Each of `lines` begins with `-` for what was
    expected and is not there, with `+` for what is there and was not expected, or with a space.
    """

    step: int
    what: str
    source: Source
    summary: str
    lines: tuple[str, ...] = ()


class Played(NamedTuple):
    """A scenario and all that was not as expected in it."""

    scenario: Scenario
    mismatches: tuple[Mismatch, ...]
