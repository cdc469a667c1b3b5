"""Events: what happens during an apply, as data for every view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from reconciler.accounts import Address
from reconciler.changes import Action, Kind, Siblings
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
    """An action of `run` is in doubt no more; `held` says whether it had been done."""

    address: Address
    kind: Kind
    held: bool
    run: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody else holds the lock and this run waits for it."""

    lock: Lock


@dataclass(frozen=True, slots=True)
class Noted:
    """A finding said while the run goes on."""

    diagnostic: Diagnostic


@dataclass(frozen=True, slots=True)
class Split:
    """An entry ended as planned in some of its apps and not in others; `left` says how in those."""

    entry: Siblings
    left: Mapping[Address, str]

    @property
    def done(self) -> tuple[Address, ...]:
        """The accounts at which everything planned is done."""
        return tuple(where for where in self.entry.accounts if where not in self.left)


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of an apply: actions confirmed by kind, failed, never tried, and in doubt.

    `blocked` says why no call of an app gets through from here; empty where that is not so.
    """

    applied: Mapping[Kind, int] = field(default_factory=dict)
    failed: int = 0
    skipped: int = 0
    in_doubt: int = 0
    interrupted: bool = False
    blocked: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything that was planned is done."""
        return not (self.failed or self.skipped or self.in_doubt or self.interrupted)


Event: TypeAlias = (
    Started
    | Completed
    | Errored
    | Skipped
    | Throttled
    | Settled
    | Waiting
    | Noted
    | Split
    | Summary
)


class Splits:
    """Follows the events of one apply, to tell at its end which entries are split."""

    def __init__(self, entries: Iterable[Siblings]) -> None:
        self._entries = tuple(entries)
        self._shared = {where for entry in self._entries for where in entry.accounts}
        self._undone: dict[Address, dict[Kind, str]] = {}

    def note(self, happened: Event) -> None:
        """Take what went wrong with an account that has siblings, and what became of a doubt."""
        match happened:
            case Errored(action, in_doubt=doubt):
                self._note(action, "in doubt" if doubt else "failed")
            case Skipped(action):
                self._note(action, "skipped")
            case Settled(address, kind, held):
                ends = self._undone.get(address, {})
                if held:
                    ends.pop(kind, None)
                elif ends.get(kind) == "in doubt":
                    ends[kind] = "failed"
            case _:
                return

    def _note(self, action: Action, how: str) -> None:
        if action.address in self._shared:
            self._undone.setdefault(action.address, {})[action.kind] = how

    def found(self) -> Iterator[Split]:
        """Yield the entries that ended as planned in some apps and not in others."""
        for entry in self._entries:
            ends = {where: self._undone.get(where) for where in entry.accounts}
            # The first that went wrong is the cause of what followed.
            left = {where: next(iter(own.values())) for where, own in ends.items() if own}
            if 0 < len(left) < len(ends):
                yield Split(entry, left)
