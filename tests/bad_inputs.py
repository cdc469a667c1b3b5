"""What every test of bad inputs asserts: told in its place, at once, and nothing touched or lost.

Test ids begin with the number of the bad input in the project's list of 112.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

from tests.world import Result, World

A = "accounts:\n"

HARMFUL = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
    r"|^\s*::|##\[|##vso\[",
    re.MULTILINE,
)
"""What no output may hold: controls but the line end, bidi, and commands to CI runners."""


def one(field: str, id: str = "bot") -> str:
    """Return an account file with one account of these fields."""
    return f"{A}  {id}: {{{field}}}\n"


def name(text: str) -> str:
    """Return an account file with one account of this name, as written."""
    return f"{A}  bot:\n    profile:\n      name: {text}\n"


ALIAS_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 9)}]}}\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def put(root: Path, file: str, content: str | bytes) -> None:
    """Write a file of a workspace as bytes."""
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def harmless(*ended: Result) -> None:
    """Assert that an output holds nothing that commands a terminal, a reader or a CI runner."""
    for one in ended:
        for text in (one.out, one.err):
            assert not (found := HARMFUL.search(text)), (found, text[:2000])
            assert "Traceback" not in text
            assert "internal error" not in text


def calls(world: World) -> int:
    """Return how many calls the vendor has had."""
    return int(world.control("requests?since=999999999")["last"])


class Untouched:
    """Asserts that what happens within changes no file, no record and asks no vendor."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __enter__(self) -> None:
        self.before = self._look()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            assert self._look() == self.before

    def _look(self) -> tuple[object, ...]:
        files = {
            path: hashlib.sha256(path.read_bytes()).digest()
            for path in sorted(self.world.root.rglob("*"))
            if path.is_file() and ".reconciler" not in path.parts
        }
        state = Path(self.world.root / "reconciler.yaml")
        kept = state.read_bytes()
        # What is recorded is asked for under a workspace file that can be read.
        self.world.workspace()
        recorded = self.world.run("state", "pull")
        state.write_bytes(kept)
        assert recorded.code == 0
        return files, recorded.out, calls(self.world)


def refused(world: World, words: tuple[str, ...], code: int, *lines: str) -> Result:
    """Run a command that refuses; assert its code, its lines, and that nothing was touched."""
    start = time.process_time()
    ended = world.run(*words)
    took = time.process_time() - start
    assert ended.code == code, ended
    for line in lines:
        assert line in ended.err, ended.err[:3000]
    harmless(ended)
    assert took < 5, "in-process bound; the hazards have a hard one of their own"
    return ended
