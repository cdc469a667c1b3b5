"""Layout: the one way in which account files and the workspace file are laid out.

- Two spaces deeper per level, lists too; LF ends every line, the last one included.
- In block style: the top, each of its keys, and each account, app and rule. What is deeper stands
  on one line where that has at most 100 columns and no comment within, else in block style.
- An account's keys, and those of its sections, in one order, `defaults` before `accounts`.
  Accounts, labels, keys of one's own and all of the workspace file stay in the written order.
- Texts in quotes only where another reader of YAML 1.1 or 1.2 would read something else; dates and
  moments without. Block scalars stay.
- Comments stay; one beside a value stands two spaces behind it. Of blank lines one stays, and none
  at the beginning of a block.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from reconciler.config.meaning import Rule, is_typed, rules
from reconciler.config.nodes import Close, Item, Lines, Node, Open, Part
from reconciler.config.scalars import Quoted
from reconciler.edit.texts import fits_brackets, key, quoted, written

WIDTH: Final = 100
"""Columns of the longest line that holds a mapping or a list; a wide character takes two.

A comment beside it counts, too.
"""

STEP: Final = 2
"""Columns that a level is deeper than the one above it."""

ACCOUNTS: Final = "accounts"
ENTRIES: Final = frozenset({ACCOUNTS, "providers", "rules"})
"""Keys at the top beneath which each entry is in block style, too."""

LAST: Final = 1000
"""The place of a key that has none in the order."""

_TOP: Final = ("defaults", ACCOUNTS)
_ACCOUNT: Final = (
    *("provider", "adopt", "protected", "on_absent", "manage"),
    *("labels", "profile", "configuration", "token", "banned"),
)
_DATES: Final = frozenset({("profile", "birthday"), ("banned", "until")})
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ][0-9:.]+(?:[Zz]|[-+][0-9:]+))?")
_KEPT: Final = re.compile(r"(?:&\S+[ \t]+)?([|>]-?)[ \t]*(?:#.*)?")

Path: TypeAlias = tuple[str, ...]


class Layout:
    """The layout of one file: of accounts, or (`name` is `workspace`) of the workspace.

    `text` is what the nodes were read from.
    """

    def __init__(self, name: str = ACCOUNTS, text: str = "") -> None:
        self.name, self.text = name, text
        self.root = rules(name)
        self.account = self.root.below(ACCOUNTS).below("")

    def file(self, parts: Iterable[Part]) -> list[str]:
        """Return the lines of a whole file; what stands before its first key stays at the top."""
        header: Lines | None = None
        sections: list[tuple[str, list[str]]] = []
        foot: Lines = ()
        lines: list[str] = []
        inside = empty = anchored = False
        for part in parts:
            if isinstance(part, Close):
                if not inside:
                    foot += part.foot
                elif empty:
                    lines[-1:] = [*part.foot, f"{lines[-1]}  {part.line}".rstrip()]
                else:
                    line = (part.line,) if part.line else ()
                    lines += _comments((*part.foot, *line), " " * STEP)
                inside = False
                continue
            item = part.item if isinstance(part, Open) else part
            assert item.key is not None
            name = item.key.text
            anchored = anchored or item.value.anchored
            if inside:
                new = self._item(item, STEP, (ACCOUNTS, name), self.account)
                if empty:
                    lines[-1], new = lines[-1].replace(": {}", ":", 1), _begun(new)
                lines += new
                empty = False
                continue
            if header is None:
                header, item = item.head, item._replace(head=())
            inside = empty = isinstance(part, Open)
            lines = self._item(item, 0, (name,), self.root.below(name))
            sections.append((name, lines))
        if self.name == ACCOUNTS and not anchored:
            sections.sort(key=lambda one: _TOP.index(one[0]) if one[0] in _TOP else len(_TOP))
        whole = list(header or ())
        for _, more in sections:
            whole += more
        return _begun([*whole, *foot])

    def entry(self, name: str, raw: Any, indent: int = STEP) -> list[str]:
        """Return the lines of an account from its values, as the reader would give them."""
        return self._item(Item(node(name), node(raw)), indent, (ACCOUNTS, name), self.account)

    def top(self, name: str, raw: Any) -> list[str]:
        """Return the lines of a key at the top from its value."""
        return self._item(Item(node(name), node(raw)), 0, (name,), self.root.below(name))

    def keys(self, raw: Mapping[str, Any], path: Path, indent: int) -> list[str]:
        """Return the lines of keys with their values, which stand at a path."""
        rule = self._rule(path)
        return [
            line
            for name, value in raw.items()
            for line in self._item(
                Item(node(name), node(value)), indent, (*path, name), rule.below(name)
            )
        ]

    def inline(self, raw: Any, path: Path, *, flow: bool) -> str:
        """Return a value on one line, as it stands at a path; `flow`: within brackets."""
        value, rule = node(raw), self._rule(path)
        scalar = value.kind == "text" and not flow
        found = (
            self._scalar(value, path, rule, flow=False) if scalar else self._flow(value, path, rule)
        )
        assert found is not None
        return found

    def _rule(self, path: Path) -> Rule:
        rule = self.root
        for name in path:
            rule = rule.below(name)
        return rule

    def _item(self, item: Item, indent: int, path: Path, rule: Rule) -> list[str]:
        """Return the lines of a key with its value, the comments before it first."""
        assert item.key is not None
        pad = " " * indent
        value = item.value
        lines = [*_comments(item.head, pad)]
        first = f"{pad}{self._anchored(item.key, key(item.key.text))}:"
        beside = f"  {item.line}" if item.line else ""
        if value.kind == "text" and (kept := self._kept(value, pad)):
            return [*lines, f"{first} {kept[0]}{beside}", *kept[1:]]
        if value.kind in ("text", "alias"):
            text = self._scalar(value, path, rule, flow=False)
            return [*lines, f"{first} {text}".rstrip() + beside]
        if not value.items:
            inner = _comments(tuple(filter(None, value.foot)), pad)
            empty = "{}" if value.kind == "mapping" else "[]"
            return [*lines, *inner, f"{first} {self._anchored(value, empty)}{beside}"]
        if not _is_block(path):
            one = self._flow(value, path, rule)
            if one is not None and _fits(found := f"{first} {one}{beside}"):
                return [*lines, found]
        if value.anchor:
            first += f" &{value.anchor}"
        return [*lines, f"{first}{beside}", *self._block(value, indent + STEP, path, rule)]

    def _block(self, value: Node, indent: int, path: Path, rule: Rule) -> list[str]:
        lines: list[str] = []
        for item in self._ordered(value, path):
            if item.key is not None:
                name = item.key.text
                new = self._item(item, indent, (*path, name), rule.below(name))
            else:
                new = self._dashed(item, indent, (*path, "-"), rule.below(""))
            lines += new if lines else _begun(new)
        return [*lines, *_comments(value.foot, " " * indent)]

    def _dashed(self, item: Item, indent: int, path: Path, rule: Rule) -> list[str]:
        """Return the lines of an item of a list."""
        pad = " " * indent
        value = item.value
        lines = [*_comments(item.head, pad)]
        beside = f"  {item.line}" if item.line else ""
        if value.kind in ("text", "alias"):
            if kept := self._kept(value, pad):
                return [*lines, f"{pad}- {kept[0]}{beside}", *kept[1:]]
            text = self._scalar(value, path, rule, flow=False)
            return [*lines, f"{pad}- {text}".rstrip() + beside]
        if not value.items:
            inner = _comments(tuple(filter(None, value.foot)), pad)
            empty = "{}" if value.kind == "mapping" else "[]"
            return [*lines, *inner, f"{pad}- {self._anchored(value, empty)}{beside}"]
        one = None if _is_block(path) else self._flow(value, path, rule)
        if one is not None and _fits(f"{pad}- {one}{beside}"):
            return [*lines, f"{pad}- {one}{beside}"]
        if item.line:
            lines.append(f"{pad}{item.line}")
        inner = self._block(value, indent + STEP, path, rule)
        while inner[0].lstrip().startswith("#"):
            lines.append(pad + inner.pop(0).lstrip())
        if value.anchor:
            return [*lines, f"{pad}- &{value.anchor}", *inner]
        return [*lines, f"{pad}- {inner[0].lstrip()}", *inner[1:]]

    def _ordered(self, value: Node, path: Path) -> Iterable[Item]:
        """Return the items in their order; with an alias as written, lest it precede its anchor."""
        if self.name != ACCOUNTS or value.kind != "mapping" or value.anchored:
            return value.items
        if path == (ACCOUNTS,):
            return value.items
        within = path[1 if path[0] == "defaults" else 2 :]
        return sorted(value.items, key=lambda one: order(one.key.text if one.key else "", within))

    def _flow(self, value: Node, path: Path, rule: Rule) -> str | None:
        """Return a value as it stands within brackets, None where it cannot."""
        if value.kind in ("text", "alias"):
            if self._kept(value, "") or (value.kind == "text" and not (value.text or value.style)):
                return None
            return self._scalar(value, path, rule, flow=True)
        if value.commented:
            return None
        found: list[str] = []
        for item in self._ordered(value, path):
            name = item.key.text if item.key else ""
            inner = (*path, name or "-")
            one = self._flow(item.value, inner, rule.below(name))
            if one is None:
                return None
            before = f"{self._anchored(item.key, key(name, flow=True))}: " if item.key else ""
            found.append(before + one)
        held = ", ".join(found)
        return self._anchored(value, f"{{{held}}}" if value.kind == "mapping" else f"[{held}]")

    def _scalar(self, value: Node, path: Path, rule: Rule, *, flow: bool) -> str | None:
        """Return a scalar on one line, None for one that only stands outside of brackets."""
        if value.kind == "alias":
            return f"*{value.text}"
        text = value.text
        if not value.style and is_typed(text, rule):
            return self._anchored(value, text)
        if rule.types is not None and "string" not in rule.types:
            # A mistake, which validate tells; it stays the mistake that it is.
            if value.style:
                return self._anchored(value, quoted(text))
            return None if flow and not fits_brackets(text) else self._anchored(value, text)
        if path[-2:] in _DATES and rule.types is not None and _DATE.fullmatch(text):
            return self._anchored(value, text)
        shown = quoted(text) if is_typed(text, rule) else written(text, flow=flow)
        return self._anchored(value, shown)

    @staticmethod
    def _anchored(value: Node, text: str) -> str:
        return f"&{value.anchor} {text}" if value.anchor else text

    def _kept(self, value: Node, pad: str) -> list[str]:
        """Return the lines of a block scalar, the first of them its header; else none."""
        if value.style not in ("|", ">") or "\n" not in value.text:
            return []
        head, *body = self.text[value.start : value.end].replace("\r\n", "\n").split("\n")
        if (found := _KEPT.fullmatch(head)) is None:
            return []
        while body and not body[-1].strip():
            body.pop()
        depth = next(len(line) - len(line.lstrip(" ")) for line in body if line.strip())
        inner = f"{pad}{' ' * STEP}"
        kept = [f"{inner}{line[depth:]}" if line[depth:] else "" for line in body]
        return [self._anchored(value, found[1]), *kept]


def node(raw: Any) -> Node:
    """Return the node of a value as the reader would give it."""
    if isinstance(raw, Mapping):
        items = (Item(Node("text", 0, 0, name), node(inner)) for name, inner in raw.items())
        return Node("mapping", 0, 0, items=tuple(items))
    if isinstance(raw, list):
        return Node("list", 0, 0, items=tuple(Item(None, node(inner)) for inner in raw))
    return Node("text", 0, 0, str(raw), style='"' if isinstance(raw, Quoted) else "")


def order(key: str, path: Path) -> int:
    """Return the place of a key in a mapping that stands at a path from its account.

    Within a section it is the one in the schema; unknown keys come last, as they are written.
    """
    return LAST if len(path) > 1 else _places(path[0] if path else "").get(key, LAST)


@lru_cache(maxsize=64)
def _places(section: str) -> Mapping[str, int]:
    account = rules(ACCOUNTS).below(ACCOUNTS).below("")
    names = account.below(section).fields if section else _ACCOUNT
    return {name: place for place, name in enumerate(names)}


def _fits(line: str) -> bool:
    """Tell whether a line has at most `WIDTH` columns; a wide character takes two."""
    if line.isascii() or 2 * len(line) <= WIDTH:
        return len(line) <= WIDTH
    return sum(1 + (unicodedata.east_asian_width(one) in "WF") for one in line) <= WIDTH


def _is_block(path: Path) -> bool:
    return len(path) == 1 or (len(path) == 2 and path[0] in ENTRIES)


def _comments(lines: Lines, pad: str) -> list[str]:
    return [f"{pad}{line}" if line else "" for line in lines]


def _begun(lines: list[str]) -> list[str]:
    """Return lines without blank ones before the first."""
    start = next((place for place, line in enumerate(lines) if line), len(lines))
    return lines[start:]
