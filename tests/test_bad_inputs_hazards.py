"""The hazardous bad inputs in a process of their own, whose memory and time are measured.

Nothing may take 256 MiB; the time that counts is the processor's, as machines are noisy.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_inputs import ALIAS_BOMB, HARMFUL, MERGE_BOMB, A, name, put

from tests.forks import forking

MIB = 1 << 20
MEMORY = 256 * MIB
SECONDS = 5.0
"""Of the processor. Each takes well under one on an idle machine."""

W = (
    "version: 1\nworkspace: test-im\nproviders:\n  cn:\n    type: yunxin\n    region: china\n"
    "    credentials: {app_key: env:K, app_secret: env:S}\naccounts: [accounts/*]\n"
)


def text(file: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda root: put(root, file, content)


def long(file: str, head: bytes, unit: bytes, size: int) -> Callable[[Path], None]:
    """Write a file of some size whose content is never in memory at once."""

    def lay(root: Path) -> None:
        with open(root / file, "wb") as opened:
            opened.write(head)
            piece = unit * (MIB // len(unit))
            for _ in range(size // len(piece)):
                opened.write(piece)

    return lay


def sparse(file: str, size: int) -> Callable[[Path], None]:
    def lay(root: Path) -> None:
        with open(root / file, "wb") as opened:
            opened.truncate(size)

    return lay


def linked(file: str) -> Callable[[Path], None]:
    def lay(root: Path) -> None:
        (root / file).unlink(missing_ok=True)
        (root / file).symlink_to("/dev/zero")

    return lay


DEEP = "[" * 50_000
LONGER = "What begins here is longer than 12 MiB."
PARTS = "What begins here has more than 20,000 parts."
LEVELS = "More than 64 levels are nested here."
EXTENSION = "profile.extension has 10000000 characters; cn takes 1024."
ALIASES = "Aliases stand for too many values."
TEN = "x" * 10_000_000

HAZARDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "038-alias-bomb": (text("accounts/a.yaml", ALIAS_BOMB + A), ALIASES),
    "038-alias-bomb-workspace": (text("reconciler.yaml", W + ALIAS_BOMB), ALIASES),
    "039-merge-bomb": (text("accounts/a.yaml", MERGE_BOMB + A), "The merge key << stands here."),
    "040-list-of-itself": (text("accounts/a.yaml", f"{A}  b: &l [*l]\n"), "*l refers to itself"),
    "041-map-of-itself": (text("accounts/a.yaml", f"{A}  b: &m {{x: *m}}\n"), "*m refers to"),
    "042-depth-1100": (text("accounts/a.yaml", f"{A}  b: {'{a: ' * 1100}\n"), LEVELS),
    "043-depth-50000": (text("accounts/a.yaml", f"{A}  b: {DEEP}\n"), LEVELS),
    "043-depth-50000-json": (text("accounts/a.json", '{"accounts":' + DEEP), LEVELS),
    "043-depth-50000-jsonl": (text("accounts/a.jsonl", '{"id":' + DEEP), LEVELS),
    "043-depth-50000-workspace": (text("reconciler.yaml", f"{W}rules: {DEEP}\n"), LEVELS),
    "054-gigabyte": (sparse("accounts/a.yaml", 1 << 30), "The file has 1,073,741,824 bytes"),
    "054-gigabyte-workspace": (sparse("reconciler.yaml", 1 << 30), "4,194,304 is the most."),
    "054-scalar": (long("accounts/a.yaml", b"accounts: ", b"x", 40 * MIB), LONGER),
    "054-block-scalar": (
        long(
            "accounts/a.yaml",
            b"accounts:\n  a:\n    profile:\n      name: |\n",
            b"   x" * 255 + b"  x\n",
            40 * MIB,
        ),
        LONGER,
    ),
    "054-line-jsonl": (long("accounts/a.jsonl", b"", b"[", 40 * MIB), LONGER),
    "054-line-csv": (long("accounts/a.csv", b"id\n", b"x", 40 * MIB), LONGER),
    "054-row-csv": (
        long("accounts/a.csv", b"id\n", b'"\n",', 40 * MIB),
        "A cell of this row is longer",
    ),
    "054-json": (long("accounts/a.json", b'"', b"x", 40 * MIB), "A JSON file has at most 32 MiB."),
    "054-list": (long("accounts/a.yaml", b"accounts: {a: [", b"1,  ", 10 * MIB), PARTS),
    "054-labels": (
        text(
            "accounts/a.yaml",
            f"{A}  a:\n    labels:\n" + "".join(f"      k{n}: v\n" for n in range(400_000)),
        ),
        PARTS,
    ),
    "054-list-jsonl": (long("accounts/a.jsonl", b'{"id":"a","labels":[', b"1,2,", 10 * MIB), PARTS),
    "054-unknown-keys": (
        text("accounts/a.yaml", f"{A}  a:\n" + "".join(f"    k{n}: v\n" for n in range(9_000))),
        "There is no key 'k0' here.",
    ),
    "054-many-keys-workspace": (
        text("reconciler.yaml", W + "".join(f"k{n}: v\n" for n in range(100_000))),
        "There is no key 'k0' here.",
    ),
    "058-zeros": (sparse("accounts/a.yaml", 4 * MIB), "The file is UTF-16, or zeros"),
    "058-zeros-jsonl": (sparse("accounts/a.jsonl", 4 * MIB), "The file is UTF-16, or zeros"),
    "061-controls": (
        long("accounts/a.yaml", b"accounts:\n", b"\x01", 4 * MIB),
        "The character U+0001 is not allowed.",
    ),
    "061-tabs": (
        long("accounts/a.yaml", b"accounts:\n", b"\t", 4 * MIB),
        "tabs and direction marks",
    ),
    "071-foreign-keys": (
        text(
            "accounts/a.yaml",
            f"{A}  a:\n    labels:\n" + "".join(f"      \u56e2{n}: v\n" for n in range(9_000)),
        ),
        "",
    ),
    "076-combining-marks": (
        text("accounts/a.yaml", name("e" + "\u0301" * 100_000)),
        "profile.name has 100001 characters; cn takes 64.",
    ),
    "089-ten-megabytes": (
        text("accounts/a.yaml", f"{name('x')}      extension: {TEN}\n"),
        EXTENSION,
    ),
    "089-ten-megabytes-flow": (
        text("accounts/a.yaml", f"{A}  a: {{profile: {{extension: {TEN}}}}}\n"),
        EXTENSION,
    ),
    "089-ten-megabytes-json": (
        text("accounts/a.json", '{"accounts":{"a":{"profile":{"extension":"' + TEN + '"}}}}'),
        EXTENSION,
    ),
    "089-ten-megabytes-jsonl": (
        text("accounts/a.jsonl", '{"id":"a","profile":{"extension":"' + TEN + '"}}'),
        EXTENSION,
    ),
    "089-ten-megabytes-csv": (
        text("accounts/a.csv", f"id,profile.extension\na,{TEN}\n"),
        "A cell of this row is longer than 131,072 characters.",
    ),
    "089-ten-megabytes-of-quotes": (
        text("accounts/a.yaml", f"{A}  a: [{chr(39) * 10_000_000}]\n"),
        "A mapping is expected here.",
    ),
    "110-dev-zero": (linked("accounts/a.yaml"), "accounts/a.yaml: error: "),
    "110-dev-zero-workspace": (linked("reconciler.yaml"), "This is no regular file."),
}


def bounded(root: Path, *words: str) -> tuple[int, str]:
    """Run a command to its end within the bounds; return its code and what it said."""
    command = ["--chdir", str(root), *words]
    child = forking().start(command, {"PATH": os.environ["PATH"]}, memory=4 * MEMORY)
    code = child.wait()
    assert code >= 0, signal.Signals(-code)
    assert child.peak < MEMORY
    assert child.seconds < SECONDS
    return code, child.out + child.err


@pytest.mark.parametrize(("lay", "says"), HAZARDS.values(), ids=HAZARDS)
def test_a_hazard_is_bounded(tmp_path: Path, lay, says) -> None:
    """It is told in under 256 MiB and a few processor seconds, and ends by no signal."""
    put(tmp_path, "reconciler.yaml", W)
    (tmp_path / "accounts").mkdir()
    lay(tmp_path)

    code, said = bounded(tmp_path, "validate")

    assert says in said, said[:2000]
    assert code == (1 if says else 0)
    assert not HARMFUL.search(said)
    assert "Traceback" not in said
    assert "internal error" not in said
    assert len(said) < 200_000


@pytest.mark.parametrize(
    ("words", "code"),
    [(("show",), 6), (("apply",), 6), (("plan", "--state"), 1)],
    ids=["show", "apply", "state"],
)
def test_110_a_device_in_place_of_a_plan_is_bounded(tmp_path: Path, words, code) -> None:
    """/dev/zero as a plan or a snapshot is refused before a byte of it is read."""
    put(tmp_path, "reconciler.yaml", W)
    put(tmp_path, "accounts/a.yaml", name("x"))
    ended, said = bounded(tmp_path, *words, "/dev/zero")
    assert (ended, "It is no regular file." in said) == (code, True), said
