"""Scripted faults: which request meets which failure, and how often. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "code",
    "status",
    "html",
    "empty",
    "close",
    "reset",
    "hang",
    "slow",
    "truncated",
    "late",
    "garbage",
    "wrong_account",
    "duplicate_keys",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
_MATCHES = ("api", "account_id", "vendor", "method", "path")
_KEYS = ("match", "fault", "executed", "times", "after", "seconds", "code", "status")


@dataclass(slots=True)
class Fault:
    """Hold one scripted fault and how much of it is left.

    `after` matching requests pass first, then `times` meet the fault (None: all of them).
    `executed` says whether the effect is applied before the fault. `seconds` is for slow, hang
    and late, `code` for code, `status` for status.
    """

    match: Mapping[str, str]
    kind: Kind
    executed: bool = False
    times: int | None = 1
    after: int = 0
    seconds: float = 0.0
    code: int = 500
    status: int = 502

    def shown(self) -> dict[str, object]:
        """Return the fault in the shape it was scripted in, with what is left of it."""
        return {
            "match": dict(self.match),
            "fault": self.kind,
            "executed": self.executed,
            "times": self.times,
            "after": self.after,
            "seconds": self.seconds,
            "code": self.code,
            "status": self.status,
        }

    def meets(self, facts: Mapping[str, str], account_ids: tuple[str, ...]) -> bool:
        """Return whether a request matches: every key of `match` must hold."""
        for key, wanted in self.match.items():
            if key == "account_id":
                if wanted not in account_ids:
                    return False
            elif facts[key] != wanted:
                return False
        return True


class Script:
    """Hold the pending faults, in the order they were given; the first that matches is met."""

    __slots__ = ("_faults",)

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, faults: list[Fault]) -> None:
        """Append faults to the script."""
        self._faults.extend(faults)

    def take(self, facts: Mapping[str, str], account_ids: tuple[str, ...]) -> Fault | None:
        """Return the fault this request meets, if any, and count it.

        Of the faults that match, those with `after` left let this request pass, one each.
        """
        for fault in self._faults:
            if not fault.meets(facts, account_ids):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
            return fault
        return None

    def pending(self) -> list[dict[str, object]]:
        """Return what is left of the script."""
        return [fault.shown() for fault in self._faults]

    def clear(self) -> None:
        """Drop the script."""
        self._faults.clear()


def parsed(value: object) -> Fault:
    """Return the fault that a JSON value describes.

    Shape: {"match": {"api", "account_id", "vendor", "method", "path"}, "fault": KIND,
    "executed": bool, "times": n or null, "after": n, "seconds": s, "code": n, "status": n};
    only `fault` is required. Raises ValueError that says what is wrong.
    """
    if not isinstance(value, dict):
        raise ValueError("a fault is an object")
    for key in value:
        if key not in _KEYS:
            raise ValueError(f"a fault has no key {key!r}")
    kind = value.get("fault")
    if kind not in KINDS:
        raise ValueError(f"fault is one of {', '.join(KINDS)}")
    times = value.get("times", 1)
    if times is not None:
        times = _whole(value, "times", 1, least=1)
    seconds = value.get("seconds", 0.0)
    if type(seconds) not in (int, float) or not 0 <= seconds <= 3600:
        raise ValueError("seconds is a number from 0 to 3600")
    executed = value.get("executed", False)
    if type(executed) is not bool:
        raise ValueError("executed is true or false")
    return Fault(
        match=_match(value.get("match", {})),
        kind=kind,
        executed=executed,
        times=times,
        after=_whole(value, "after", 0, least=0),
        seconds=float(seconds),
        code=_whole(value, "code", 500, least=0),
        status=_whole(value, "status", 502, least=200, most=599),
    )


def _match(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("match is an object")
    for key, wanted in value.items():
        if key not in _MATCHES:
            raise ValueError(f"match has the keys {', '.join(_MATCHES)}, not {key!r}")
        if not isinstance(wanted, str):
            raise ValueError(f"match.{key} is a text")
    return dict(value)


def _whole(
    value: Mapping[str, object], key: str, default: int, *, least: int, most: int = 10**9
) -> int:
    number = value.get(key, default)
    if type(number) is not int or not least <= number <= most:
        raise ValueError(f"{key} is a whole number from {least} to {most}")
    return number
