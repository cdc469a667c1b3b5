"""Workspace: what a user set up in `reconciler.yaml`, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from reconciler.diagnostics import Source
from reconciler.values import Reference, canonical, digest, to_moment, to_text

OnAbsent: TypeAlias = Literal["forget", "block", "error"]
Places: TypeAlias = Mapping[tuple[Any, ...], tuple[int, int]]
"""Line and column, from 1, by the path that leads to what stands there."""


@dataclass(frozen=True, slots=True)
class App:
    """One vendor app: an entry of `providers`; its name is the first half of every address.

    `endpoint` is everything before the API path. `credentials` hold secrets as references and
    the rest as text. `rate` is calls per second per vendor API, None for 80 % of the documented
    limit. `options` are the vendor's own settings (`blocked_tag`).
    """

    name: str
    type: str
    endpoint: str
    credentials: Mapping[str, str | Reference] = field(default_factory=dict)
    rate: float | None = None
    concurrency: int = 16
    allow_http: bool = False
    proxy: Reference | None = None
    ca_file: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Encryption:
    """What recorded state is encrypted with at rest: references to keys.

    `key` is for what is to be written; without it the state is to be clear again. `previous` are
    those that it may still be under.
    """

    key: Reference | None = None
    previous: tuple[Reference, ...] = ()
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Glob:
    """Which files hold accounts, and what lies beneath all of theirs.

    `defaults` are texts as they were written, `adopt` among them; `keys` and `values` are their
    places in the workspace file. `bans` says that the files are sheets of bans, and `needed` that
    there must be some.
    """

    pattern: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    keys: Places = field(default_factory=dict)
    values: Places = field(default_factory=dict)
    source: Source | None = None
    bans: bool = False
    needed: bool = True


@dataclass(frozen=True, slots=True)
class StateSettings:
    """Where the recorded state is kept; `options` are the backend's own settings."""

    backend: str = "sqlite"
    path: str = ".reconciler/state.db"
    ephemeral: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    encryption: Encryption | None = None

    @property
    def secrets(self) -> tuple[Reference, ...]:
        """The references that are the state's own."""
        found = [one for one in self.options.values() if isinstance(one, Reference)]
        if self.encryption:
            found += [*filter(None, [self.encryption.key]), *self.encryption.previous]
        return tuple(found)


@dataclass(frozen=True, slots=True)
class SecretSettings:
    """Which references account files may use (globs like `env:IM_TOKEN_*`), and the key."""

    allow: tuple[str, ...] = ()
    fingerprint_key: Reference | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A blast radius: `max(3, min(count, percent % of recorded))` actions of one kind.

    For updates `percent` alone counts, once more than `above` accounts are recorded.
    """

    count: int | None
    percent: float
    above: int = 0


DEFAULT_LIMITS: Mapping[str, Limit] = {
    "block": Limit(20, 10),
    "unblock": Limit(20, 10),
    "forget": Limit(20, 10),
    "update": Limit(None, 30, above=10),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A named policy over the plan: when an action of these kinds matches, `effect` follows.

    `match` maps a path (`labels.tier`, `account_id`, `provider`, `path`, `profile.name`) to a
    glob. `effect` is one of deny, warn, require, limit, approval, and `value` its argument.
    `override` tells whether a person may override it for one plan.
    """

    id: str
    actions: tuple[str, ...]
    match: Mapping[str, str]
    effect: Literal["deny", "warn", "require", "limit", "approval"]
    value: Any
    source: Source | None = None
    override: bool = True

    @property
    def digest(self) -> str:
        """What tells whether a rule is still the one that was overridden; its place is no part."""
        said = [self.id, self.actions, dict(self.match), self.effect, self.value, self.override]
        return f"sha256:{digest(canonical(said)).hex()}"


SIGNED = ("feishu", "dingtalk")
"""Formats of `notify` whose robots can want a signature."""


@dataclass(frozen=True, slots=True)
class BanReason:
    """A reason that bans may have, and how long one may last; `longest` is None for any time."""

    name: str
    longest: timedelta | None = None

    def overlong(self, until: str | None, moment: datetime | None) -> tuple[str, str] | None:
        """Return what is wrong with a ban that lasts too long from a moment on, and what to do.

        Without a moment only that one has no end is.
        """
        if self.longest is None or (until and moment is None):
            return None
        hours = self.longest // timedelta(hours=1)
        span = f"{hours} hours" if hours % 24 else f"{hours // 24} days"
        wrong = f"A ban for {self.name[:80]} lasts at most {span}; this one"
        if until is None or moment is None:
            return f"{wrong} has no end.", f"write until: with a time at most {span} ahead"
        if to_moment(until) <= moment + self.longest:
            return None
        return f"{wrong} ends later.", f"write until: {to_text(moment + self.longest)} or before"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where drift is told: an address, which is a secret, and how the service wants it said.

    `format` is empty where the address tells. `always` asks for a message also when all is well.
    `secret` signs what is told to a robot that wants it signed.
    """

    url: Reference
    format: str = ""
    always: bool = False
    secret: Reference | None = None


@dataclass(frozen=True, slots=True)
class Workspace:
    """A whole workspace. `root` is the absolute folder that every path in it is beneath.

    `ban_reasons` closes the list of reasons; where it is empty, any text is one, and none as well.
    `lint` says how kinds of lint are told; one that is not written is a warning.
    """

    name: str
    root: str
    apps: Mapping[str, App]
    accounts: tuple[Glob, ...] = (Glob("accounts/**/*.yaml"),)
    state: StateSettings = StateSettings()
    secrets: SecretSettings = SecretSettings()
    on_absent: OnAbsent = "forget"
    limits: Mapping[str, Limit] = field(default_factory=lambda: DEFAULT_LIMITS)
    rules: tuple[Rule, ...] = ()
    notify: tuple[Webhook, ...] = ()
    ban_reasons: Mapping[str, BanReason] = field(default_factory=dict)
    lint: Mapping[str, Literal["off", "warn", "error"]] = field(default_factory=dict)
