"""Tencent's console: a ban is a mark and mutes, and profiles are kept in Tencent's own words."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Final

from reconciler.emulator.emulated import Options
from reconciler.emulator.store import Account
from reconciler.emulator.tencent_fields import CUSTOM, MUTES

_FLAGS: Final = tuple(flag for flag, _ in MUTES.values())
_ALLOWS: Final = {
    "need_confirm": "AllowType_Type_NeedConfirm",
    "allow_any": "AllowType_Type_AllowAny",
    "deny_any": "AllowType_Type_DenyAny",
}
_ALLOWED: Final = {held: word for word, held in _ALLOWS.items()}


class TencentConsole:
    """What `blocked_tag` names among the options is the mark of a ban, `1` while it stands."""

    def with_profile(self, account: Account, profile: Mapping[str, object]) -> Account:
        """Set fields; `custom` holds those that are registered in the console, by their keys."""
        held, extra = dict(account.profile), dict(account.extra)
        for key, value in profile.items():
            if key == "custom" and isinstance(value, Mapping):
                extra |= {f"{CUSTOM}{name}": text for name, text in value.items()}
            else:
                held[key] = _kept(key, value)
        return replace(account, profile=held, extra=extra)

    def with_ban(self, account: Account, banned: bool, options: Options) -> Account:
        """Set or take away both mutes, and the mark."""
        extra = dict(account.extra)
        if marker := options.get("blocked_tag"):
            extra[str(marker)] = "1" if banned else ""
        flags = {**account.configuration, **dict.fromkeys(_FLAGS, banned)}
        return replace(account, configuration=flags, extra=extra)

    def profile(self, account: Account, options: Options) -> dict[str, object]:
        """Return what is set, custom fields as `custom.Key`, without the mark."""
        marker = options.get("blocked_tag")
        told = {key: _told(key, value) for key, value in account.profile.items() if value}
        return told | {
            f"custom.{tag.removeprefix(CUSTOM)}": value
            for tag, value in account.extra.items()
            if tag.startswith(CUSTOM) and tag != marker and value
        }

    def banned(self, account: Account, options: Options) -> bool:
        """Tell whether both mutes are set, and the mark where there is one."""
        marker = options.get("blocked_tag")
        if marker and account.extra.get(str(marker)) != "1":
            return False
        return all(account.configuration.get(flag) for flag in _FLAGS)

    def flags(self, account: Account, options: Options) -> Mapping[str, object]:
        """Return the mutes that are no ban."""
        own = _FLAGS if self.banned(account, options) else ()
        return {flag: on for flag, on in account.configuration.items() if flag not in own}


def _kept(key: str, value: object) -> object:
    if key == "birthday" and value:
        return int(str(value).replace("-", ""))
    return _ALLOWS.get(str(value), value) if key == "allow_type" else value


def _told(key: str, value: object) -> object:
    if key == "birthday" and isinstance(value, int):
        return date(value // 10000, value // 100 % 100, value % 100).isoformat()
    return _ALLOWED.get(str(value), value) if key == "allow_type" else value
