"""Tables: what a set of providers takes together, compiled once for all their accounts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from reconciler.capabilities import Capabilities, IdRule, Support
from reconciler.config import scalars

PROFILE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "name": scalars.word,
    "avatar": scalars.avatar,
    "sign": scalars.word,
    "email": scalars.email,
    "birthday": scalars.birthday,
    "mobile": scalars.word,
    "gender": scalars.gender,
    "extension": scalars.extension,
    "location": scalars.word,
    "language": scalars.whole,
    "level": scalars.whole,
    "role": scalars.whole,
    "allow_type": scalars.allow_type,
}
CONFIGURATION: Final[Mapping[str, Callable[[Any], Any]]] = dict.fromkeys(
    (
        "p2p_chat_banned",
        "team_chat_banned",
        "chatroom_chat_banned",
        "qchat_chat_banned",
        "push_enabled_when_desktop_online",
    ),
    scalars.flag,
)
BAN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "reason": scalars.word,
    "ticket": scalars.word,
    "until": scalars.until,
    "kick": scalars.flag,
    "notify": scalars.word,
}
RECORDED: Final = frozenset({"banned.reason", "banned.ticket", "banned.until"})
"""Ban fields that no vendor hears of."""


class Bound(NamedTuple):
    """What one provider demands of a field: at most `most` units, one of `choices`."""

    provider: str
    most: int | None
    bytes: bool
    choices: tuple[str | int, ...]


class Rule(NamedTuple):
    """How a field is read and what its providers demand; `lacking` names those without it.

    `reach` is the number of characters that certainly fits every provider, None without limit;
    `text` says that any text will do.
    """

    convert: Callable[[Any], Any]
    bounds: tuple[Bound, ...] = ()
    lacking: tuple[str, ...] = ()
    reach: int | None = None
    chosen: bool = False
    text: bool = False


class Table(NamedTuple):
    """The rules of a set of providers; `prefixes` begin the addresses in them."""

    names: tuple[str, ...]
    ids: tuple[IdRule, ...]
    prefixes: tuple[str, ...]
    profile: Mapping[str, Rule]
    configuration: Mapping[str, Rule]
    ban: Mapping[str, Rule]
    banned: Rule
    token: Rule
    vendor_token: Rule
    capabilities: tuple[Capabilities, ...]

    def custom(self, key: str) -> Rule:
        """Return the rule of one custom profile field."""
        return _rule(self.names, self.capabilities, f"profile.custom.{key}", scalars.word)


def table(names: tuple[str, ...], capabilities: Mapping[str, Capabilities]) -> Table:
    """Compile the rules that hold for an account in all of these providers."""
    tables = tuple(capabilities[name] for name in names)

    def rules(prefix: str, readers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Rule]:
        return {
            name: _rule(names, tables, f"{prefix}.{name}", read) for name, read in readers.items()
        }

    return Table(
        names,
        tuple(one.id for one in tables),
        tuple(f"{name}/" for name in names),
        rules("profile", PROFILE),
        rules("configuration", CONFIGURATION),
        rules("banned", BAN),
        _rule(names, tables, "banned", scalars.flag),
        _rule(names, tables, "token", scalars.word),
        _rule(names, tables, "token.vendor", scalars.word),
        tables,
    )


def _rule(
    names: tuple[str, ...],
    tables: tuple[Capabilities, ...],
    path: str,
    convert: Callable[[Any], Any],
) -> Rule:
    if path in RECORDED:
        return Rule(convert)
    bounds, lacking = [], []
    for name, one in zip(names, tables, strict=True):
        field = one.field(path)
        if field.support is Support.UNSUPPORTED:
            lacking.append(name)
        elif field.limit is not None or field.choices:
            bounds.append(Bound(name, field.limit, field.unit == "bytes", field.choices))
    # A character is at most four bytes of UTF-8.
    reach = min(
        (
            bound.most // 4 if bound.bytes else bound.most
            for bound in bounds
            if bound.most is not None
        ),
        default=None,
    )
    return Rule(
        convert,
        tuple(bounds),
        tuple(lacking),
        reach,
        any(bound.choices for bound in bounds),
        convert is scalars.word,
    )
