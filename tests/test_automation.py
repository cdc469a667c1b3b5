"""RECONCILER_IN_AUTOMATION: what a person may run next is not said where no person reads it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from reconciler.cli.console import Console
from reconciler.cli.plan import _saved
from tests.world import World

ADVICE = {
    "init": "Next:",
    "fmt --check": "; run: reconciler fmt",
    "import cn-prod/known": "or run it with --write FILE.",
    "pull": " Write it with: reconciler pull --write",
}
"""Each command that ends well with advice, and what of its text is the advice."""


def test_advice_is_for_people_and_changes_nothing_else(tmp_path: Path, endpoint: str) -> None:
    """With the variable the advice is gone; exit code, result and all other lines are the same."""
    told: dict[str, list[tuple[int, str, str]]] = {name: [] for name in ADVICE}
    for value in ("", "no"):  # any value counts, as with Terraform's
        world = World(tmp_path / (value or "people"), endpoint)
        world.environ["RECONCILER_IN_AUTOMATION"] = value
        fresh = World(tmp_path / f"new-{value}", endpoint, world.environ)
        (fresh.root / "reconciler.yaml").unlink()
        fresh.environ = world.environ
        world.seed("known", "a")
        world.accounts("a:  {adopt: true, profile: {name: A}}")
        assert world.run("apply", "--auto-approve").code == 0
        world.console("a", profile={"name": "B"})
        assert world.run("refresh").code == 0
        for name in ADVICE:
            ended = (fresh if name == "init" else world).run(*name.split())
            told[name].append((ended.code, ended.out, ended.err))
    for name, ((code, out, err), silent) in told.items():
        assert ADVICE[name] in out + err, name
        assert ADVICE[name] not in silent[1] + silent[2], name
        lines = (out + err).splitlines()
        assert silent[0] == code
        assert {line.rstrip(".") for line in (silent[1] + silent[2]).splitlines()} <= {
            line.replace(ADVICE[name], "").rstrip(".") for line in lines
        }, name


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "variable", "said"),
    [
        (Terminal, "", "Saved. Do just this with: reconciler --chdir im apply 'next plan.json'\n"),
        (Terminal, "1", ""),
        (io.StringIO, "", ""),
    ],
)
def test_a_saved_plan_is_followed_by_its_apply(stream, variable: str, said: str) -> None:
    """On a terminal `plan --out` says how to apply that file, as typed; in automation it does not.

    A folder that --chdir names is said again, as its files are beneath it for apply, too.
    """
    from reconciler.cli.arguments import parse

    err = stream()
    console = Console({"RECONCILER_IN_AUTOMATION": variable}, io.StringIO(), err)
    _saved(parse(["--chdir", "im", "plan", "--out", "next plan.json"], {}), console)
    assert err.getvalue() == said


def test_what_is_wrong_is_said_in_automation_too(tmp_path: Path) -> None:
    """A hint that mends an error is no advice: it stays."""
    world = World(tmp_path, "http://127.0.0.1:9")
    world.environ["RECONCILER_IN_AUTOMATION"] = "1"
    world.accounts("a: {profile: {name: A}}")
    ended = world.run("apply")
    assert ended.code == 64
    assert "hint: pass --auto-approve" in ended.err
