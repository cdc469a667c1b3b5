"""Expectations: what a scenario expects, read from its file into values that can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from reconciler.accounts import Address
from reconciler.changes import Kind, Reason
from reconciler.config.built import Built
from reconciler.config.close import close
from reconciler.config.parts import part, parts, plain
from reconciler.config.pen import Pen, sight
from reconciler.scenario import MISSING, Asked, Expect, Line, Sight

_LINE: Final = re.compile(r"(?:[+~xo=.] )?([a-z]+) +(\S+)(?: +\(([a-z_]+)\))?")
_KINDS: Final = frozenset(map(str, Kind))
_REASONS: Final = frozenset(map(str, Reason))
_SIGHT: Final = frozenset({"profile", "configuration", "banned", "token", "kicks", "notified"})
Pairs = Mapping[str, tuple[Any, Any]]


class Expectations:
    """Reads the parts called `expect` of one file."""

    def __init__(self, pen: Pen) -> None:
        self.pen = pen

    def expect(self, built: Built, typed: Mapping[str, Any]) -> Expect:
        """Return what is expected; `typed` is the same with its values typed."""
        places = {key: self.pen.source(built, (key,)) for key in typed}
        places[""] = self.pen.source(built)
        return Expect(
            places,
            tuple(self._actions(part(built, "actions"))) if "actions" in typed else None,
            tuple(self._asked(built, "invalid", typed)),
            tuple(self._asked(built, "refused", typed)),
            tuple(self._asked(built, "warnings", typed)),
            _tuples(typed["approvals"]) if "approvals" in typed else None,
            self._waiting(built, typed.get("waiting", {})),
            tuple(self._accounts(built, ("failed",), typed.get("failed", ()))),
            self._drift(part(built, "drift")) if "drift" in typed else None,
            self._sights(part(built, "vendor")) if "vendor" in typed else {},
            typed.get("rests", True),
            typed.get("calls"),
        )

    def _actions(self, built: Built) -> Iterator[Line]:
        for number, one in enumerate(built.value):
            if isinstance(one, str):
                yield from self._short(built, number, one)
            else:
                yield from self._long(part(built, number))

    def _short(self, built: Built, number: int, text: str) -> Iterator[Line]:
        found = _LINE.fullmatch(text)
        if found is None or found[1] not in _KINDS or (found[3] and found[3] not in _REASONS):
            self.pen.tell(
                built,
                (number,),
                "bad-form",
                f"{text[:80]!r} is no action.",
                "write KIND ACCOUNT, as in: unblock bob (ban_expired)"
                + (f"; {close(found[1], Kind)}" if found and found[1] not in _KINDS else ""),
            )
            return
        for where in self.pen.addresses(built, (number,), found[2]):
            yield Line(Kind(found[1]), where, found[3] or "")

    def _long(self, built: Built) -> Iterator[Line]:
        kinds = [kind for kind in Kind if kind in built.value]
        if len(kinds) != 1:
            summary = "An action has exactly one kind and account."
            hint = f"write one of {', '.join(Kind)}: with the account"
            self.pen.tell(built, (), "bad-form", summary, hint)
            return
        changes = self._pairs(part(built, "changes")) if "changes" in built.value else None
        for where in self.pen.addresses(built, (kinds[0],), str(built.value[kinds[0]])):
            yield Line(kinds[0], where, str(built.value.get("because", "")), changes)

    def _pairs(self, built: Built) -> Pairs:
        pairs: dict[str, tuple[Any, Any]] = {}
        for path, pair in built.value.items():
            if len(pair) != 2:
                summary = "Two values are expected here, before and after."
                self.pen.tell(built, (path,), "wrong-type", summary, "write [before, after]")
                continue
            pairs[path] = (plain(pair[0]), plain(pair[1]))
        return pairs

    def _asked(self, built: Built, key: str, typed: Mapping[str, Any]) -> Iterator[Asked]:
        for number, one in enumerate(typed.get(key, ())):
            named = {one: ()} if isinstance(one, str) else one
            for id, accounts in named.items():
                path = (key, number, id)
                yield Asked(id.removeprefix("rule-"), tuple(self._accounts(built, path, accounts)))

    def _accounts(self, built: Built, path: tuple[Any, ...], texts: Any) -> Iterator[Address]:
        for number, text in enumerate(texts):
            yield from self.pen.addresses(built, (*path, number), text)

    def _waiting(
        self, built: Built, typed: Mapping[str, list[str]]
    ) -> Mapping[Address, tuple[str, ...]]:
        return {
            where: tuple(sorted(paths))
            for key, paths in typed.items()
            for where in self.pen.addresses(built, ("waiting", key), key)
        }

    def _drift(self, built: Built) -> Mapping[Address, Pairs | None]:
        drift: dict[Address, Pairs | None] = {}
        for key, value in built.value.items():
            if not isinstance(value, dict) and value != MISSING:
                summary = f"{str(value)[:80]!r} is no drift."
                hint = f"write {MISSING}, or path: [recorded, observed]"
                self.pen.tell(built, (key,), "bad-choice", summary, hint)
                continue
            pairs = self._pairs(part(built, key)) if isinstance(value, dict) else None
            for where in self.pen.addresses(built, (key,), key):
                drift[where] = pairs
        return drift

    def _sights(self, built: Built) -> Mapping[Address, Sight]:
        return {
            where: sight(self.pen, own, where, _SIGHT)
            for key, own in parts(built).items()
            for where in self.pen.addresses(built, (key,), key)
        }


def _tuples(typed: Mapping[str, list[str]]) -> Mapping[str, tuple[str, ...]]:
    return {key: tuple(values) for key, values in typed.items()}
