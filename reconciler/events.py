"""Events: what happens during an apply, as data for every view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from reconciler.accounts import Address
from reconciler.changes import Action, Kind
from reconciler.diagnostics import Diagnostic
from reconciler.state import Lock


@dataclass(frozen=True, slots=True)
class Started:
    """An action has its intent written down and its first call is about to be sent."""

    action: Action


@dataclass(frozen=True, slots=True)
class Completed:
    """An action is confirmed and recorded; `seconds` since it started, `waiting` what is not."""

    action: Action
    seconds: float
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Errored:
    """An action failed. `in_doubt`: it may have been carried out, the next run settles it."""

    action: Action
    code: str
    message: str
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """An action was not tried, and why."""

    action: Action
    because: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """The vendor asked for a pause: this API of this provider rests for some seconds."""

    provider: str
    api: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Settled:
    """An action of an earlier run is in doubt no more; `held` says whether it had been done."""

    address: Address
    kind: Kind
    held: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody else holds the lock and this run waits for it."""

    lock: Lock


@dataclass(frozen=True, slots=True)
class Noted:
    """A finding said while the run goes on."""

    diagnostic: Diagnostic


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of an apply: actions confirmed by kind, failed, never tried, and in doubt."""

    applied: Mapping[Kind, int] = field(default_factory=dict)
    failed: int = 0
    skipped: int = 0
    in_doubt: int = 0
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether everything that was planned is done."""
        return not (self.failed or self.skipped or self.in_doubt or self.interrupted)


Event: TypeAlias = (
    Started | Completed | Errored | Skipped | Throttled | Settled | Waiting | Noted | Summary
)
