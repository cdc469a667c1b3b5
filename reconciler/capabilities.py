"""Capabilities: what a vendor can hold of an account, as one table for every room that asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from re import Pattern
from typing import Literal


class Support(StrEnum):
    """How a vendor holds a field.

    native: it has the field. emulated: other calls stand in for it, and people are told.
    unreadable: it takes the field and never gives it back. unsupported: it has no such field.
    """

    NATIVE = "native"
    EMULATED = "emulated"
    UNREADABLE = "unreadable"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Field:
    """One field at one vendor.

    `default` is what the vendor holds when the field was never set; a removed field returns to
    it. `limit` counts `unit`s of the text. `choices` closes the set of values. `source` says where
    the fact was read.
    """

    support: Support
    default: str | int | bool | None = None
    limit: int | None = None
    unit: Literal["characters", "bytes"] = "characters"
    choices: tuple[str | int, ...] = ()
    note: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class IdRule:
    """Which account ids the vendor takes. `folds` says that it lower-cases them itself."""

    pattern: Pattern[str]
    limit: int
    unit: Literal["characters", "bytes"]
    folds: bool
    words: str

    def fold(self, account_id: str) -> str:
        """Return the id as the vendor will keep it."""
        return account_id.lower() if self.folds else account_id


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one vendor can do; the same table serves validate, plan, drift and `providers`.

    `fields` is keyed by path (`profile.name`, `banned`, `banned.kick`, `token`); a path that is
    missing is unsupported. `waits` lists the path prefixes that the vendor refuses while the
    account is banned, `after_login` the paths that it refuses before an account's first login,
    `lapses` those that may end by themselves at the vendor, if somebody set them for a time.
    `calls` lists, per kind of work (`create`, `block`, `unblock`, `read`, and for an update a
    path or its beginning), the vendor APIs that it costs one call each; `created.` before a path
    is what follows a registration that does not take the field, `banned.kick` what a kick adds to
    a block. `rates` is the documented limit in calls per second per API (`""` is every other
    API); `batch` the most accounts one call takes, for `read` and `create`. `penalty` is the
    pause in seconds after a throttled call. `reserved` are ids that the vendor has itself, with a
    `*` what such ids begin with. `sources` says where `id`, `regions`, `rates` and `batch` were
    read. `entry` is what `init` writes for an app of the vendor, as it stands beneath `providers:`.
    """

    type: str
    title: str
    id: IdRule
    fields: Mapping[str, Field]
    regions: Mapping[str, str]
    calls: Mapping[str, tuple[str, ...]]
    rates: Mapping[str, float]
    batch: Mapping[str, int] = field(default_factory=dict)
    waits: tuple[str, ...] = ()
    after_login: tuple[str, ...] = ()
    lapses: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    penalty: float = 10.0
    reserved: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    entry: str = ""

    def field(self, path: str) -> Field:
        """Return the field at a path; one the vendor does not have is unsupported."""
        return self.fields.get(path) or self.fields.get(path.rpartition(".")[0] + ".*", UNSUPPORTED)

    def apis(self, work: str) -> tuple[str, ...]:
        """Return the vendor APIs that a kind of work, or a change of a path, calls once each."""
        while work not in self.calls and "." in work:
            work = work.rpartition(".")[0]
        return self.calls.get(work, ())

    @property
    def open_fields(self) -> bool:
        """Whether users name fields of their own here (`profile.custom.*`)."""
        return any(path.endswith(".*") for path in self.fields)

    def rate(self, api: str) -> float:
        """Return the documented limit of an API in calls per second."""
        return self.rates.get(api) or self.rates[""]

    def waits_while_banned(self, path: str) -> bool:
        """Tell whether the vendor refuses to change this path while the account is banned."""
        return path.startswith(self.waits)


UNSUPPORTED = Field(Support.UNSUPPORTED)
