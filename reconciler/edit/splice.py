"""Splice: values put into one account of a YAML file, every other character left as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from reconciler.config.nodes import Item, Node
from reconciler.edit.layout import ACCOUNTS, STEP, Layout, order
from reconciler.edit.texts import key

Path: TypeAlias = tuple[str, ...]

_ANCHORED = "its value has an anchor, or is one's alias, and stands in other places too"
_COMMENTED = "a comment stands within the value"
_NO_VALUE = re.compile(r"([ \t]*)(#[^\n]*)?\r?(?:\n|\Z)")


class Splice(NamedTuple):
    """Characters `start` to `end` of a text, which `text` replaces."""

    start: int
    end: int
    text: str


def spliced(text: str, splices: Iterable[Splice]) -> str:
    """Return the text with all splices; they do not overlap."""
    made: list[str] = []
    at = 0
    for one in sorted(splices, key=lambda splice: (splice.start, splice.end)):
        made += (text[at : one.start], one.text)
        at = one.end
    return "".join((*made, text[at:]))


def put(
    item: Item, values: Mapping[Path, Any], text: str, *, flow: bool = False
) -> tuple[list[Splice], dict[Path, str]]:
    """Return the splices that put values into an account, and why others cannot be put.

    `values` are as the reader would give them, by their path from the account (`("profile",
    "name")`); a mapping among them replaces what stands there as a whole. `flow`: the account
    stands within brackets.
    """
    assert item.key is not None
    putting = _Putting(item.key, text)
    node = item.value
    if not (flow or node.items or node.foot or node.anchor) and node.kind == "mapping":
        return list(putting.filled(node, values)), {}
    return list(putting.within(item.key, node, values, (), flow=flow)), putting.failed


class _Putting:
    """Puts values into the account with this key."""

    def __init__(self, key: Node, text: str) -> None:
        self.key, self.text = key, text
        self.top: Path = (ACCOUNTS, key.text)
        self.layout = Layout()
        self.failed: dict[Path, str] = {}
        self.newline = "\r\n" if "\r\n" in text[: text.find("\n") + 1] else "\n"

    def filled(self, node: Node, values: Mapping[Path, Any]) -> Iterator[Splice]:
        """Yield the splices that turn an account `{}` into one in block style."""
        start = node.start
        while self.text[start - 1] in " \t":
            start -= 1
        yield Splice(start, node.end, "")
        column = self.key.start - (self.text.rfind("\n", 0, self.key.start) + 1) + STEP
        keys = sorted(_nested(values).items(), key=lambda one: order(one[0], ()))
        yield self._lines(line_end(self.text, node.end), dict(keys), (), column)

    def within(
        self, key: Node, node: Node, values: Mapping[Path, Any], path: Path, *, flow: bool
    ) -> Iterator[Splice]:
        """Yield the splices that put values, by their path from here, into the mapping of a key."""
        groups: dict[str, dict[Path, Any]] = {}
        for one, value in values.items():
            groups.setdefault(one[0], {})[one[1:]] = value
        if node.anchor or node.kind != "mapping" or (node.foot and not node.items):
            self._fail(values, path, _COMMENTED if node.foot else _ANCHORED)
            return
        flow = flow or node.flow
        new: dict[str, Any] = {}
        for name, inner in groups.items():
            if (item := node.get(name)) is None or item.key is None:
                new[name] = inner[()] if () in inner else _nested(inner)
            elif () not in inner:
                yield from self.within(item.key, item.value, inner, (*path, name), flow=flow)
            elif why := _fixed(item):
                self._fail(inner, (*path, name), why)
            else:
                yield from self._replaced(item.key, item.value, inner[()], (*path, name), flow=flow)
        if new and flow:
            yield self._added(node, new, path)
        elif new:
            yield from self._inserted(key, node, new, path)

    def _fail(self, values: Iterable[Path], path: Path, why: str) -> None:
        self.failed |= {(*path, *one): why for one in values}

    def _replaced(
        self, key: Node, old: Node, value: Any, path: Path, *, flow: bool
    ) -> Iterator[Splice]:
        """Yield the splices that put a value in the place of another."""
        shown = self.layout.inline(value, (*self.top, *path), flow=flow)
        end = old.start + len(self.text[old.start : old.end].rstrip())
        if old.kind == "text" or old.flow:
            yield Splice(old.start, end, shown)
            return
        colon = self._colon(key)
        yield Splice(colon, colon, f" {shown}")
        line = line_end(self.text, colon)
        yield Splice(line - (2 if self.text[line - 2] == "\r" else 1), end, "")

    def _added(self, node: Node, new: Mapping[str, Any], path: Path) -> Splice:
        """Return the splice that adds keys to a mapping in brackets, behind its last one."""
        shown = ", ".join(
            f"{key(name, flow=True)}: "
            f"{self.layout.inline(value, (*self.top, *path, name), flow=True)}"
            for name, value in new.items()
        )
        if not node.items:
            return Splice(node.start + 1, node.start + 1, shown)
        end = node.items[-1].value.end
        return Splice(end, end, f", {shown}")

    def _inserted(
        self, key: Node, node: Node, new: Mapping[str, Any], path: Path
    ) -> Iterator[Splice]:
        """Yield the splices that add keys to a mapping in block style, in the order of the layout.

        A key stands behind the last one that comes before it, else first.
        """
        for name in sorted(new, key=lambda one: order(one, path)):
            at = line_end(self.text, self._colon(key))
            for item in node.items:
                if item.key and order(item.key.text, path) <= order(name, path):
                    at = behind(self.text, item, node.column)
            yield self._lines(at, {name: new[name]}, path, node.column)

    def _lines(self, at: int, values: Mapping[str, Any], path: Path, column: int) -> Splice:
        """Return the splice that adds keys as lines, where a line begins or the text ends."""
        lines = self.layout.keys(values, (*self.top, *path), column)
        made = "".join(f"{line}{self.newline}" for line in lines)
        if self.text[at - 1] != "\n":
            made = self.newline + made.removesuffix(self.newline)
        return Splice(at, at, made)

    def _colon(self, key: Node) -> int:
        """Return the place behind the colon of a key."""
        return self.text.index(":", key.end) + 1


def behind(text: str, item: Item, column: int) -> int:
    """Return where the line behind an item begins, and behind the comments that are its own.

    `column` is that of the block which holds it; comments further in are the item's.
    """
    at = end = line_end(text, max(item.value.end - 1, item.value.start))
    while end < len(text) and (found := _NO_VALUE.match(text, end)):
        if found[2] and len(found[1]) <= column:
            break
        end = found.end()
        at = end if found[2] else at
    return at


def line_end(text: str, at: int) -> int:
    """Return where the next line begins."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _fixed(item: Item) -> str:
    """Return why a value cannot be replaced, empty where it can."""
    value = item.value
    if value.anchored:
        return _ANCHORED
    kept = value.style in ("|", ">") and item.line
    return _COMMENTED if value.commented or kept else ""


def _nested(values: Mapping[Path, Any]) -> dict[str, Any]:
    """Return values by their paths as one mapping within another."""
    made: dict[str, Any] = {}
    for path, value in values.items():
        place = made
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value
    return made
