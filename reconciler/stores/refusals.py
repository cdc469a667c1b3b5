"""Refusals: what every store says, in the same words, of a write that cannot be made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.accounts import Address
from reconciler.errors import ReconcilerError, StateError
from reconciler.state import Scope


def no_run() -> ReconcilerError:
    """Return the error for a write before any run was begun."""
    return StateError.of("state-no-run", "a write needs a run, and none was begun")


def run_twice(id: str) -> ReconcilerError:
    """Return the error for a run under the id of another."""
    return StateError.of("state-run-twice", f"the run {id} is recorded with other facts")


def no_intent(id: str, *, known: bool) -> ReconcilerError:
    """Return the error for the outcome of an intent that has one, or that nobody wrote down."""
    what = "is settled already" if known else "was never written down"
    return StateError.of("state-no-intent", f"the intent {id} {what}")


def in_doubt(address: Address) -> ReconcilerError:
    """Return the error for erasing an account while what was asked for it is still needed."""
    return StateError.of(
        "erase-in-doubt",
        f"{address} has an action whose outcome is not known",
        hint="settle it first: reconciler apply",
    )


def not_locked(name: str) -> ReconcilerError:
    """Return the error for breaking a lock that nobody holds."""
    return StateError.of("state-not-locked", f"{name}: nobody holds the state lock")


def demand_within(scope: Scope, apps: Iterable[str]) -> None:
    """Raise StateError if one of these providers is not among those that a writer may write."""
    if scope is None:
        return
    if outside := sorted(set(apps).difference(scope)):
        raise StateError.of(
            "state-out-of-scope",
            f"this run has locked the accounts of {' and '.join(sorted(scope))}, and must not"
            f" write those of {outside[0]}",
        )


def demand_whole(scope: Scope) -> None:
    """Raise StateError if a writer has locked less than the whole workspace."""
    if scope is not None:
        raise StateError.of(
            "state-out-of-scope",
            f"this run has locked the accounts of {' and '.join(sorted(scope))}; what it is to"
            " write needs the lock of the whole workspace",
        )


def demand_same_apps(recorded: Mapping[str, str], apps: Mapping[str, str]) -> None:
    """Raise StateError if a provider is recorded with another app."""
    for provider, app in apps.items():
        if recorded.get(provider, app) != app:
            raise StateError.of(
                "state-other-app",
                f"the provider {provider} is recorded with the app {recorded[provider]}, not {app}",
                hint="Put the recorded app back, or give the new app a provider name of its own.",
            )
