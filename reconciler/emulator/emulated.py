"""Emulated: one vendor API as data: its paths, and how a person at its console sees accounts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from reconciler.emulator.context import Context
from reconciler.emulator.exchange import Paths
from reconciler.emulator.settings import Settings
from reconciler.emulator.store import Account

Options = Mapping[str, object]
"""What a workspace sets of an app beside its keys, as `blocked_tag`."""


class Console(Protocol):
    """The vendor's console, in the words of account files: what a rehearsal sets and looks at."""

    def with_profile(self, account: Account, profile: Mapping[str, object]) -> Account:
        """Return the account with some fields of its profile set."""
        ...

    def with_ban(self, account: Account, banned: bool, options: Options) -> Account:
        """Return the account banned, or free."""
        ...

    def profile(self, account: Account, options: Options) -> dict[str, object]:
        """Return the profile; what is unset or empty is left out."""
        ...

    def banned(self, account: Account, options: Options) -> bool:
        """Tell whether the account is banned."""
        ...

    def flags(self, account: Account, options: Options) -> Mapping[str, object]:
        """Return the flags that were set, but for those that are the ban's own."""
        ...


class Plain:
    """The console of a vendor whose accounts are stored in the words of account files."""

    def with_profile(self, account: Account, profile: Mapping[str, object]) -> Account:
        """Set the fields as they are."""
        return replace(account, profile={**account.profile, **profile})

    def with_ban(self, account: Account, banned: bool, options: Options) -> Account:
        """Switch the account off or on."""
        return replace(account, enabled=not banned)

    def profile(self, account: Account, options: Options) -> dict[str, object]:
        """Return what is set."""
        return {name: value for name, value in account.profile.items() if value}

    def banned(self, account: Account, options: Options) -> bool:
        """Tell whether the account is switched off."""
        return not account.enabled

    def flags(self, account: Account, options: Options) -> Mapping[str, object]:
        """Return what is set."""
        return account.configuration


@dataclass(frozen=True, slots=True)
class Emulated:
    """One vendor API, for the server, its control routes and for rehearsals in memory.

    `app` returns which app the settings name. `apis` names the API that does a `create`, changes
    a `profile` and sets a `block`; `codes` what it answers to a call that is `refused` or
    `throttled`. `prefix` is what a caller's endpoint has between host and path. `stored_as` names
    the API whose accounts these are, where it has none of its own. `folds`: ids are kept in lower
    case. `names_refused`: the answer to a create of many names those it does not take, which are
    `Context.unwanted`.
    """

    routes: Callable[[Context], Paths]
    app: Callable[[Settings], str]
    apis: Mapping[str, str]
    codes: Mapping[str, int]
    prefix: str = ""
    stored_as: str = ""
    folds: bool = False
    names_refused: bool = False
    console: Console = field(default_factory=Plain)
