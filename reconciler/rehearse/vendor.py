"""Vendor: one app of a workspace in memory, and what it holds in the words of account files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reconciler.emulator.emulated import Emulated
from reconciler.emulator.faults import Fault
from reconciler.emulator.memory import Memory
from reconciler.emulator.settings import Clock
from reconciler.emulator.store import Account
from reconciler.emulator.vendors import VENDORS, stored_as
from reconciler.scenario import Sight, Trouble
from reconciler.transport.answers import Facts
from reconciler.workspace import App

PUSH: Final = "push_enabled_when_desktop_online"


class Time:
    """Seconds since 1970 that pass only when somebody waits, whoever it is."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self.now += seconds

    def set(self, moment: float) -> None:
        """Let it become a later moment; it never goes back."""
        with self._lock:
            self.now = max(self.now, moment)


@dataclass(slots=True)
class Vendor:
    """The emulator's rules for one app, without a network: it is its own line (`transport.Line`).

    `memory.context` is what the vendor is, as an operator of it would see it.
    """

    app: App
    time: Time
    memory: Memory = field(init=False)

    def __post_init__(self) -> None:
        clock = Clock(wall=lambda: self.time.now, monotonic=lambda: self.time.now)
        self.memory = Memory(self.app.type, clock)

    def reached(self) -> App:
        """Return the app as its transport is to have it: with keys of the vendor in memory."""
        settings = self.memory.context.settings
        keys = {key: str(getattr(settings, key)) for key in self.app.credentials}
        return App(
            self.app.name,
            self.app.type,
            f"https://vendor.invalid{self._emulated.prefix}",
            keys,
            self.app.rate,
            1,
            options=self.app.options,
        )

    def exchange(
        self,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        content: bytes,
        *,
        mutates: bool,  # noqa: ARG002 (every answer comes at once)
    ) -> Facts:
        """Answer a request in place."""
        told = {name.decode().lower(): value.decode() for name, value in headers}
        return Facts(True, 200, self.memory.answer(method, target.decode(), told, content))

    def hurry(self, seconds: float) -> None:
        """Do nothing: nothing is ever under way."""

    def close(self) -> None:
        """Do nothing: nothing is open."""

    @property
    def calls(self) -> int:
        """How many calls so far changed something."""
        return sum(entry.mutated for entry in self.memory.context.log.since(0))

    def expect_trouble(self, troubles: Iterator[Trouble]) -> None:
        """Have the next calls answered as a scenario says."""
        context = self.memory.context
        for trouble in troubles:
            id = trouble.address.partition("/")[2] if trouble.address else ""
            if (trouble.call, trouble.answers) == ("create", "refused") and id:
                # Where many are registered in one call, the answer names whom it does not take.
                context.unwanted.add(id)
                if self._emulated.names_refused:
                    continue
            match = {"api": self._emulated.apis[trouble.call]}
            match |= {"account_id": id} if id else {}
            code = self._emulated.codes[trouble.answers]
            context.script.add([Fault(match, "code", code=code)])

    def no_trouble(self) -> None:
        """Take every call again."""
        self.memory.context.script.clear()
        self.memory.context.unwanted.clear()

    def edit(self, id: str, sight: Sight) -> None:
        """Change, register or remove an account as a person at the vendor's console would."""
        context, kind = self.memory.context, self._stored
        held = context.store.get(kind, self._name, id)
        if not sight.exists:
            context.store.delete(kind, self._name, id)
            return
        now, console = self.time.now, self._emulated.console
        account = held or Account(kind, self._name, id, context.mint(), now, now)
        account = console.with_profile(account, sight.profile or {})
        if sight.banned is not None:
            account = console.with_ban(account, sight.banned, self.app.options)
        logged_in = account.logged_in if sight.logged_in is None else sight.logged_in
        context.store.put(
            replace(
                account,
                configuration={**account.configuration, **(sight.configuration or {})},
                logged_in=logged_in,
                updated_at=now,
            )
        )

    def held(self, id: str) -> Account | None:
        """Return an account as the vendor keeps it."""
        return self.memory.context.store.get(self._stored, self._name, id)

    def profile(self, account: Account) -> dict[str, Any]:
        """Return the profile of an account; what is unset or at its default is left out."""
        return self._emulated.console.profile(account, self.app.options)

    def banned(self, account: Account) -> bool:
        """Tell whether an account is banned, whatever the vendor means by it."""
        return self._emulated.console.banned(account, self.app.options)

    def configuration(self, account: Account) -> dict[str, bool]:
        """Return the flags that are not at their default; mutes that are a ban are the ban's."""
        flags = self._emulated.console.flags(account, self.app.options)
        return {flag: bool(on) for flag, on in flags.items() if bool(on) is (flag != PUSH)}

    @property
    def _emulated(self) -> Emulated:
        return VENDORS[self.app.type]

    @property
    def _stored(self) -> str:
        return stored_as(self.app.type)

    @property
    def _name(self) -> str:
        return self._emulated.app(self.memory.context.settings)
