"""Vendor: one app of a workspace in memory, and what it holds in the words of account files."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

from reconciler.emulator.faults import Fault
from reconciler.emulator.memory import Memory
from reconciler.emulator.settings import Clock
from reconciler.emulator.store import Account
from reconciler.scenario import Sight, Trouble
from reconciler.transport.answers import Facts
from reconciler.workspace import App

PUSH: Final = "push_enabled_when_desktop_online"
MUTES: Final = ("p2p_chat_banned", "team_chat_banned")
_CUSTOM: Final = "Tag_Profile_Custom_"
_ALLOWS: Final = {
    "need_confirm": "AllowType_Type_NeedConfirm",
    "allow_any": "AllowType_Type_AllowAny",
    "deny_any": "AllowType_Type_DenyAny",
}
_ALLOWED: Final = {held: word for word, held in _ALLOWS.items()}

_APIS: Final[Mapping[str, Mapping[str, str]]] = {
    "yunxin": {"create": "create", "profile": "profile_update", "block": "disable"},
    "commsease": {"create": "create", "profile": "update_uinfo", "block": "block"},
    "tencent": {"create": "multiaccount_import", "profile": "portrait_set", "block": "kick"},
}
_CODES: Final = {
    "yunxin": {"refused": 414, "throttled": 416},
    "commsease": {"refused": 414, "throttled": 416},
    "tencent": {"refused": 40005, "throttled": 60007},
}


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
        prefix = "/nimserver" if self.app.type == "commsease" else ""
        settings = self.memory.context.settings
        keys = {key: str(getattr(settings, key)) for key in self.app.credentials}
        return App(
            self.app.name,
            self.app.type,
            f"https://vendor.invalid{prefix}",
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
                if self.app.type == "tencent":
                    continue
            match = {"api": _APIS[self.app.type][trouble.call]}
            match |= {"account_id": id} if id else {}
            code = _CODES[self.app.type][trouble.answers]
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
        now = self.time.now
        account = held or Account(kind, self._name, id, context.mint(), now, now)
        profile, extra = dict(account.profile), dict(account.extra)
        flags = dict(account.configuration)
        for key, value in (sight.profile or {}).items():
            if key == "custom":
                extra |= {f"{_CUSTOM}{name}": text for name, text in value.items()}
            else:
                profile[key] = self._emulated(key, value)
        enabled = account.enabled
        if sight.banned is not None and kind == "tencent":
            flags |= dict.fromkeys(MUTES, sight.banned)
            if marker := self.app.options.get("blocked_tag"):
                extra[marker] = "1" if sight.banned else ""
        elif sight.banned is not None:
            enabled = not sight.banned
        flags |= sight.configuration or {}
        logged_in = account.logged_in if sight.logged_in is None else sight.logged_in
        context.store.put(
            replace(
                account,
                enabled=enabled,
                profile=profile,
                configuration=flags,
                extra=extra,
                logged_in=logged_in,
                updated_at=now,
            )
        )

    def held(self, id: str) -> Account | None:
        """Return an account as the vendor keeps it."""
        return self.memory.context.store.get(self._stored, self._name, id)

    def profile(self, account: Account) -> dict[str, Any]:
        """Return the profile of an account; what is unset or at its default is left out."""
        marker = self.app.options.get("blocked_tag")
        told = {key: self._told(key, value) for key, value in account.profile.items() if value}
        told |= {
            f"custom.{tag.removeprefix(_CUSTOM)}": value
            for tag, value in account.extra.items()
            if tag.startswith(_CUSTOM) and tag != marker and value
        }
        return told

    def banned(self, account: Account) -> bool:
        """Tell whether an account is banned; at Tencent a ban is a mark and mutes, or mutes."""
        if self._stored != "tencent":
            return not account.enabled
        marker = self.app.options.get("blocked_tag")
        if marker and account.extra.get(marker) != "1":
            return False
        return all(account.configuration.get(flag) for flag in MUTES)

    def configuration(self, account: Account) -> dict[str, bool]:
        """Return the flags that are not at their default; mutes that are a ban are the ban's."""
        own = MUTES if self._stored == "tencent" and self.banned(account) else ()
        return {
            flag: bool(on)
            for flag, on in account.configuration.items()
            if flag not in own and bool(on) is (flag != PUSH)
        }

    @property
    def _stored(self) -> str:
        return "tencent" if self.app.type == "tencent" else "yunxin"

    @property
    def _name(self) -> str:
        settings = self.memory.context.settings
        return settings.sdk_app_id if self._stored == "tencent" else settings.app_key

    def _emulated(self, key: str, value: Any) -> Any:
        """Return a value of a profile as Tencent keeps it; the others keep our own."""
        if self._stored == "tencent" and key == "birthday" and value:
            return int(str(value).replace("-", ""))
        return _ALLOWS.get(str(value), value) if key == "allow_type" else value

    def _told(self, key: str, value: Any) -> Any:
        if key == "birthday" and isinstance(value, int):
            return date(value // 10000, value // 100 % 100, value % 100).isoformat()
        return _ALLOWED.get(str(value), value) if key == "allow_type" else value
