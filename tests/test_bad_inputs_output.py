"""Output attacks 93 to 102: what a vendor or a file says never commands a terminal or a CI runner.

End users choose their own nicknames, and vendors choose the words of their errors.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from bad_inputs import HARMFUL, harmless, put

from tests.world import Result, World

pytest_plugins = ["spoilt_workspace"]

ATTACKS = {
    "093-clear-screen": "\x1b[2J\x1b[Hempty",
    "093-title-and-link": "\x1b]0;owned\x07\x1b]8;;https://evil.example\x07here\x1b]8;;\x07",
    "093-clipboard": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "093-c1-csi": "\u009b2Jgone",
    "094-overwritten-line": "No changes.\rPlan: 0 to block",
    "095-backspaces": "block" + "\b" * 5 + "allow",
    "096-three-backticks": "```\n@everyone\n```",
    "096-ten-backticks": "`" * 10 + "\n",
    "097-table-break": "a | b\n|---|---|",
    "098-image": "<img src=x onerror=alert(1)>",
    "098-details": "</details></code></pre>",
    "099-mention": "@org/team #1 org/repo#2",
    "100-mask": "x\n::add-mask::Plan",
    "100-stop-commands": "::stop-commands::0123456789abcdef",
    "100-set-output": "\r\n  ::set-output name=x::y",
    "101-error": "##[error]all is lost",
    "101-set-variable": "x\n##vso[task.setvariable variable=PATH]/tmp",
    "101-bidi": "\u202egnp.\u2066exe\u2069",
    "101-line-separators": "a\u2028::error::b\u2029c\u0085d",
    "102-ten-thousand-characters": "N" * 10_000,
}


@pytest.fixture
def held(spoilt: World) -> Iterator[World]:
    """The workspace, whose vendor gets its words back afterwards."""
    yield spoilt
    spoilt.control("faults", method="DELETE")
    spoilt.console("kept", profile={"name": "Kept", "sign": None, "extension": None})


def shown(ended: Result, *, json_too: bool = False) -> Result:
    """Assert that what a command printed is harmless and short."""
    harmless(ended)
    if json_too:
        assert ended.out.isascii()
        assert [json.loads(line) for line in ended.out.splitlines()]
    else:
        longest = max(map(len, (ended.out + ended.err).splitlines()), default=0)
        assert longest < 600, longest
    return ended


@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_what_a_vendor_holds_is_shown_as_data(held: World, text: str) -> None:
    """Drift, plan, refresh, show and history write a hostile profile on one short, dead line."""
    held.console("kept", profile={"name": text, "sign": text, "extension": text})

    assert shown(held.run("drift")).code == 2
    assert shown(held.run("drift", "--json"), json_too=True).code == 2
    assert "profile.name" in shown(held.run("plan", "--refresh")).out
    shown(held.run("plan", "--refresh", "--json"), json_too=True)
    assert shown(held.run("refresh")).code == 0
    assert "observed" in shown(held.run("state", "show", "kept")).out
    kept = shown(held.run("state", "show", "kept", "--json"), json_too=True)
    assert kept.json["observed"]["profile"]["name"] == text
    shown(held.run("show"))
    shown(held.run("state", "history"))
    shown(held.run("state", "history", "--json"), json_too=True)
    shown(held.run("plan"))


@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_what_a_vendor_says_is_shown_as_data(held: World, monkeypatch, text: str) -> None:
    """A hostile error text is shown where an action failed, in events and history, as data."""
    monkeypatch.setitem(__import__("reconciler.emulator.yunxin").emulator.yunxin._WORDS, 403, text)
    held.accounts("kept: {profile: {name: Other}}", "aaa")
    fault = {"match": {"api": "profile_update"}, "fault": "code", "code": 403, "times": None}
    held.faults(fault)

    failed = shown(held.run("apply", "--auto-approve"))
    streamed = shown(held.run("apply", "--auto-approve", "--json"), json_too=True)
    history = shown(held.run("state", "history"))

    assert failed.code == streamed.code == 3
    assert "update of cn-prod/kept failed [403]" in failed.err
    assert "(403 " in history.out
    shown(held.run("state", "history", "--json"), json_too=True)


@pytest.mark.parametrize(
    "text",
    [text for text in ATTACKS.values() if text.isprintable() and len(text) < 65],
    ids=[name for name, text in ATTACKS.items() if text.isprintable() and len(text) < 65],
)
def test_what_a_file_holds_is_shown_as_data(held: World, text: str) -> None:
    """Texts that account files may hold are planned as they are, and shown dead."""
    quoted = json.dumps(text)
    held.accounts(
        f"bot: {{profile: {{name: {quoted}}}, banned: {{reason: {quoted}}},"
        f" labels: {{team: {quoted}}}}}"
    )

    shown(held.run("validate"))
    assert "create" in shown(held.run("plan")).out
    planned = shown(held.run("plan", "--json"), json_too=True).json
    after = {change["path"]: change["after"] for change in planned["actions"][0]["changes"]}
    assert after["profile.name"] == text


@pytest.mark.parametrize(
    "name",
    ["\n::error::x", "\x1b[2J", "##[error]x", "\udcff\udcfe", "\u202egnp", "a\rb"],
    ids=ascii,
)
def test_names_of_files_and_arguments_are_shown_as_data(held: World, name: str) -> None:
    """A hostile file name, address, target or plan name commands nobody in an error message."""
    put(held.root, f"accounts/{name}.yaml", "accounts: []\n")

    assert shown(held.run("validate")).code == 1
    shown(held.run("validate", "--json"), json_too=True)
    assert shown(held.run("apply", "--auto-approve")).code == 1
    assert shown(held.run("show", name)).code == 1
    assert shown(held.run("plan", "--state", name)).code == 1
    assert shown(held.run("plan", "--target", f"nowhere/{name}")).code in (1, 64)
    assert shown(held.run("state", "show", name)).code == 1
    assert shown(held.run(name)).code == 64


def test_nothing_commands_a_terminal(held: World) -> None:
    """On a real terminal only our own colours are escape sequences."""
    everything = " ".join(ATTACKS.values())
    held.console("kept", profile={"name": everything})
    mine, theirs = pty.openpty()
    words = [sys.executable, "-P", "-m", "reconciler", "--chdir", str(held.root), "drift"]
    with subprocess.Popen(words, env=held.environ, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        out = b""
        while True:
            try:
                data = os.read(mine, 65536)
            except OSError:  # a terminal whose other end is closed
                break
            if not data:
                break
            out += data
    os.close(mine)

    text = out.decode().replace("\r\n", "\n")
    assert process.returncode == 2
    assert "\x1b[33m" in text
    assert not HARMFUL.search(re.sub(r"\x1b\[\d+m", "", text))


def test_a_printed_plan_can_be_applied(held: World) -> None:
    """What `plan --json` prints is a plan file, also where a CI runner's sign had to be escaped."""
    held.accounts('kept: {profile: {name: "##[error] ### x"}}', "aaa")
    file = held.root / "printed.plan.json"
    file.write_text(shown(held.run("plan", "--json"), json_too=True).out)

    assert shown(held.run("show", str(file))).code == 0
    assert held.run("apply", str(file)).code == 0
    assert held.vendor("kept")["profile"]["name"] == "##[error] ### x"

    file.write_text(file.read_text().replace("[error]", "[ERROR]"))
    assert shown(held.run("show", str(file))).code == 6
