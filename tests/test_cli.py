"""The command line against a real vendor on loopback: what people type, read and get back."""

from __future__ import annotations

import json
import os
import pickle
import signal
import stat
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from reconciler.config import schema_text
from tests.forks import forking, until
from tests.github_runner import program
from tests.world import World

TWO = """
alice:
  profile: {name: Alice}
bob:
  profile: {name: Bob, sign: hello}
"""


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> World:
    """A workspace in an empty folder whose provider is an unthrottled emulator."""
    return World(tmp_path, endpoint)


@pytest.fixture
def applied(world: World) -> World:
    """The same with alice and bob applied."""
    world.accounts(TWO)
    assert world.run("apply", "--auto-approve").code == 0
    return world


def test_plan_apply_plan(world: World) -> None:
    """A plan is carried out as shown, the vendor holds it, and planning again finds nothing."""
    world.accounts(TWO)

    planned = world.run("plan")
    ended = world.run("apply", "--auto-approve")
    again = world.run("plan")

    assert planned.code == ended.code == again.code == 0
    assert planned.last == "Plan: 2 to create, 0 to update, 0 to block, 0 to unblock, 0 to forget."
    assert ended.last == (
        "Apply complete: 2 created, 0 updated, 0 blocked, 0 unblocked, 0 forgotten."
    )
    assert again.last == "No changes. 2 accounts as recorded."
    assert world.vendor("bob")["profile"]["sign"] == "hello"


def test_plan_creates_nothing_on_disk(world: World) -> None:
    """Planning leaves no state, lock or other file behind."""
    world.accounts(TWO)

    world.run("plan")

    assert sorted(path.name for path in world.root.iterdir()) == ["accounts", "reconciler.yaml"]


def test_no_op_apply_changes_nothing(applied: World) -> None:
    """An apply with nothing to do sends no mutation, keeps the serial, and says it is done."""
    before = applied.serial(), len(applied.mutations())
    done = "Apply complete: 0 created, 0 updated, 0 blocked, 0 unblocked, 0 forgotten."
    file = str(applied.root / "none.json")
    applied.run("plan", "--out", file)

    ended = applied.run("apply", "--auto-approve")
    saved = applied.run("apply", file)

    assert (ended.code, saved.code) == (0, 0)
    assert ended.out.splitlines() == ["No changes. 2 accounts as recorded.", done]
    assert saved.out.splitlines() == [done]
    assert (applied.serial(), len(applied.mutations())) == before


def test_detailed_exit_code(world: World) -> None:
    """`plan --detailed-exitcode` is 2 with changes and 0 without, whatever the format."""
    world.accounts(TWO)
    assert world.run("plan", "--detailed-exitcode").code == 2
    assert world.run("plan", "--detailed-exitcode", "--json").code == 2

    world.run("apply", "--auto-approve")

    assert world.run("plan", "--detailed-exitcode").code == 0


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["plan", "--allow", "delete=3"],
        ["plan", "--allow", "block=many"],
        ["plan", "--as-of", "tomorrow"],
        ["state"],
        ["lock"],
        ["plan", "--format", "crayon"],
        ["apply", "--lock-timeout", "soon", "--auto-approve"],
        ["plan", "--state", "x", "--refresh"],
        ["schema", "crayon"],
        ["drift", "--target", "cn-prdo/alice"],
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_wrong_usage(world: World, words: list[str]) -> None:
    """Every wrong argument is exit 64 with a message and no traceback."""
    world.accounts(TWO)

    ended = world.run(*words)

    assert ended.code == 64
    assert "error:" in ended.err
    assert "Traceback" not in ended.err


def test_apply_needs_approval(world: World) -> None:
    """Without a terminal, apply says which flag is missing and sends nothing."""
    world.accounts(TWO)

    ended = world.run("apply", stdin="yes\n")

    assert ended.code == 64
    assert "--auto-approve" in ended.err
    assert not world.mutations()


def test_saved_plan(world: World) -> None:
    """A saved plan is private, fits its schema, and is applied without a question."""
    world.accounts(TWO)
    file = world.root / "next.plan.json"

    assert world.run("plan", "--out", str(file)).code == 0
    Draft202012Validator(json.loads(schema_text("plan"))).validate(json.loads(file.read_bytes()))

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert world.run("apply", str(file)).code == 0
    assert world.run("show", str(file)).code == 0
    assert world.run("apply", str(file)).code == 6


def test_json_plan_and_events_fit_their_schemas(world: World) -> None:
    """`plan --json` and every line of `apply --json` fit the shipped schemas."""
    world.accounts(TWO + "spammer:\n  banned: {reason: spam}\n")

    planned = world.run("plan", "--json").json
    stream = world.run("apply", "--auto-approve", "--json").lines

    Draft202012Validator(json.loads(schema_text("plan"))).validate(planned)
    events = Draft202012Validator(json.loads(schema_text("events")))
    for line in stream:
        events.validate(line)
    assert stream[0]["type"] == "version"
    assert stream[-1]["type"] == "summary"
    assert stream[-1]["applied"] == {"create": 3, "block": 1}
    assert planned["summary"]["create"] == 3


def test_moved_account_makes_a_plan_stale(applied: World) -> None:
    """A saved plan whose account another run changed is exit 6; others may have changed."""
    applied.accounts(TWO.replace("Alice", "Alicia"))
    applied.run("plan", "--out", str(applied.root / "a.json"))
    applied.accounts(TWO.replace("Bob", "Bobby"))
    applied.run("plan", "--out", str(applied.root / "b.json"))
    applied.accounts(TWO.replace("Alice", "Ally"))
    applied.run("apply", "--auto-approve")

    stale = applied.run("apply", str(applied.root / "a.json"))
    fresh = applied.run("apply", str(applied.root / "b.json"))

    assert stale.code == 6
    assert "alice" in stale.err
    assert fresh.code == 0


def test_plan_of_another_workspace(applied: World, tmp_path: Path) -> None:
    """A plan of another workspace, or one edited by hand, is exit 6; one not there is exit 1."""
    applied.accounts(TWO.replace("Alice", "Alicia"))
    file = applied.root / "next.json"
    applied.run("plan", "--out", str(file))
    edited = applied.write("edited.json", file.read_text().replace("Alicia", "Mallory"))
    pickled = applied.root / "pickled.json"
    pickled.write_bytes(pickle.dumps({"actions": []}))

    assert applied.run("apply", str(edited)).code == 6
    assert applied.run("apply", str(pickled)).code == 6
    assert applied.run("apply", str(applied.root / "missing.json")).code == 1
    other = World(tmp_path / "other", applied.endpoint)
    other.workspace(name="other-im")
    other.accounts(TWO)
    assert other.run("apply", str(file)).code == 6


def test_another_app_is_refused(applied: World) -> None:
    """State of one vendor app is neither applied nor compared against another."""
    applied.environ["APP_KEY"] = "another-app-key"
    applied.accounts(TWO.replace("Alice", "Alicia"))

    for words in (["apply", "--auto-approve"], ["drift"], ["refresh"], ["plan", "--refresh"]):
        ended = applied.run(*words)
        assert ended.code == 6, words
        assert "another app" in ended.err


def test_expected_fingerprint(world: World) -> None:
    """`apply --expect` does just the reviewed plan, and nothing where it is another."""
    world.accounts(TWO)
    reviewed = world.run("plan", "--json").json["fingerprint"]
    world.accounts(TWO.replace("Alice", "Alicia"))

    other = world.run("apply", "--auto-approve", "--expect", reviewed)
    world.accounts(TWO)
    same = world.run("apply", "--auto-approve", "--expect", reviewed)

    assert (other.code, same.code) == (6, 0)


def test_limit_and_exact_override(world: World) -> None:
    """Over a limit is exit 4 naming the exact override, which the plan file keeps."""
    accounts = "".join(f"u{number}:\n  profile: {{name: x}}\n" for number in range(8))
    world.accounts(accounts)
    world.run("apply", "--auto-approve")
    world.accounts(accounts.replace("  profile: {name: x}", "  profile: {name: x}\n  banned: true"))
    file = str(world.root / "ban.json")

    refused = world.run("apply", "--auto-approve")
    planned = world.run("plan", "--out", file)
    wrong = world.run("apply", "--auto-approve", "--allow", "block=7")
    allowed = world.run("plan", "--out", file, "--allow", "block=8")
    ended = world.run("apply", file)

    assert refused.code == planned.code == wrong.code == 4
    assert "--allow block=8" in refused.err
    assert "8 to block" in planned.out
    assert (allowed.code, ended.code) == (0, 0)


def test_empty_desired_set(applied: World) -> None:
    """Nothing desired against a state that holds accounts is exit 4, as is an empty glob."""
    applied.write("accounts/team.yaml", "accounts: {}\n")
    empty = applied.run("plan")
    allowed = applied.run("plan", "--allow", "forget=2")
    (applied.root / "accounts/team.yaml").unlink()
    glob = applied.run("plan")

    assert (empty.code, allowed.code, glob.code) == (4, 0, 4)
    assert "--allow forget=2" in empty.err


def test_existing_account_is_not_overwritten(world: World) -> None:
    """An account that the vendor has and nobody recorded fails alone and is left as it is."""
    world.seed("alice")
    world.accounts(TWO)

    ended = world.run("apply", "--auto-approve")

    assert ended.code == 3
    assert "reconciler import cn-prod/alice" in ended.err
    assert ended.last == "Apply incomplete: 1 failed, 0 skipped, 0 in doubt."
    assert world.vendor("alice")["profile"]["name"] == "alice"
    assert world.vendor("bob")["profile"]["name"] == "Bob"


def test_import_then_plan(world: World) -> None:
    """An imported account is managed from then on, and nothing is changed by the import."""
    world.seed("alice")
    world.accounts("alice:\n  profile: {name: Alice}\n")

    imported = world.run("import", "cn-prod/alice")
    before = len(world.mutations())
    planned = world.run("plan", "--json").json

    assert imported.code == 0
    assert before == 0
    assert [action["action"] for action in planned["actions"]] == ["update"]
    assert planned["actions"][0]["changes"] == [
        {"path": "profile.name", "before": "alice", "after": "Alice"}
    ]


def test_adopted_ban(world: World) -> None:
    """`adopt: true` bans an account that the app registered; a typo fails that one alone."""
    world.seed("spammer-77")
    world.accounts("""
spammer-77:
  adopt: true
  banned: {reason: spam}
spamer-78:
  adopt: true
  banned: {reason: spam}
""")

    planned = world.run("plan", "--json").json
    ended = world.run("apply", "--auto-approve")

    assert [(a["account_id"], a["action"]) for a in planned["actions"]] == [
        ("spamer-78", "adopt"),
        ("spamer-78", "block"),
        ("spammer-77", "adopt"),
        ("spammer-77", "block"),
    ]
    assert planned["actions"][3]["changes"][0] == {
        "path": "banned",
        "before": None,
        "after": True,
        "unknown": True,
    }
    assert ended.code == 3
    assert world.vendor("spammer-77")["enabled"] is False
    assert "spamer-78" in ended.err
    assert world.run("plan", "--json").json["summary"]["unchanged"] == 1


def test_block_kicks_once_with_its_notification(applied: World) -> None:
    """A block ends the sessions once, with the text for the person."""
    applied.accounts(TWO + "  banned: {reason: spam, notify: bye}\n")

    assert applied.run("apply", "--auto-approve").code == 0

    held = applied.vendor("bob")
    assert (held["enabled"], held["kicks"], held["last_kick"]) == (False, 1, "bye")


def test_ban_ends_by_itself(applied: World) -> None:
    """Once `until` has passed, the next plan unblocks and says why."""
    applied.accounts(TWO + "  banned: {reason: spam, until: 2099-01-01}\n")
    applied.run("apply", "--auto-approve")

    planned = applied.run("plan", "--as-of", "2099-01-02", "--json").json
    ended = applied.run("apply", "--auto-approve", "--as-of", "2099-01-02")

    assert [(a["action"], a["reason"]) for a in planned["actions"]] == [("unblock", "ban_expired")]
    assert ended.code == 0
    assert applied.vendor("bob")["enabled"] is True
    assert applied.run("plan", "--as-of", "2099-01-03").last.startswith("No changes.")


def test_fields_of_a_banned_account_wait(applied: World) -> None:
    """A change of a banned account waits, is said, and follows with the unblock."""
    applied.accounts(TWO + "  banned: true\n")
    applied.run("apply", "--auto-approve")
    applied.accounts(TWO.replace("Bob", "Bobby") + "  banned: true\n")

    waiting = applied.run("plan", "--json").json
    applied.accounts(TWO.replace("Bob", "Bobby"))
    lifted = applied.run("apply", "--auto-approve")

    assert waiting["actions"] == []
    assert [d["kind"] for d in waiting["diagnostics"]] == ["waiting"]
    assert lifted.last == (
        "Apply complete: 0 created, 1 updated, 0 blocked, 1 unblocked, 0 forgotten."
    )
    assert applied.vendor("bob")["profile"]["name"] == "Bobby"


def test_push_switch_waits_for_the_first_login(world: World) -> None:
    """The push switch is no failure before the first login; it follows with the next change."""
    flag = "  configuration: {push_enabled_when_desktop_online: false}\n"
    world.accounts("bob:\n" + flag)

    created = world.run("apply", "--auto-approve")
    quiet = world.run("plan", "--json").json
    world.console("bob", logged_in=True)
    world.accounts("bob:\n" + flag + "  profile: {name: Bob}\n")
    changed = world.run("apply", "--auto-approve")

    assert (created.code, changed.code) == (0, 0)
    assert quiet["actions"] == []
    assert quiet["diagnostics"][0]["kind"] == "waiting"
    assert world.vendor("bob")["configuration"]["push_enabled_when_desktop_online"] is False
    assert world.run("plan", "--json").json["diagnostics"] == []


def test_removed_field_returns_to_the_default(applied: World) -> None:
    """A field that leaves the YAML goes back to the vendor's default and is managed no more."""
    applied.accounts(TWO.replace(", sign: hello", ""))

    planned = applied.run("plan", "--json").json
    applied.run("apply", "--auto-approve")
    applied.console("bob", profile={"sign": "my own"})

    assert planned["actions"][0]["reason"] == "field_removed"
    assert planned["actions"][0]["changes"] == [
        {"path": "profile.sign", "before": "hello", "after": "", "removed": True}
    ]
    assert applied.run("drift").code == 0


@pytest.mark.parametrize(
    ("mode", "code", "enabled"), [("forget", 0, True), ("block", 0, False), ("error", 4, True)]
)
def test_leaving(applied: World, mode: str, code: int, enabled: bool) -> None:
    """An account that leaves the YAML is forgotten, blocked or an error, as was chosen."""
    applied.workspace(f"on_absent: {mode}")
    applied.accounts("alice:\n  profile: {name: Alice}\n")

    assert applied.run("apply", "--auto-approve").code == code
    assert applied.vendor("bob")["enabled"] is enabled


def test_accounts_of_a_provider_that_is_gone_are_forgotten(applied: World) -> None:
    """A provider that left the workspace needs no credentials for its accounts to be forgotten."""
    text = (applied.root / "reconciler.yaml").read_text()
    applied.write("reconciler.yaml", text.replace("cn-prod", "cn-other"))
    applied.accounts("carol:\n  profile: {name: Carol}\n")
    applied.control("requests", method="DELETE")

    ended = applied.run("apply", "--auto-approve")

    assert ended.code == 0, ended.err
    assert ended.last == (
        "Apply complete: 1 created, 0 updated, 0 blocked, 0 unblocked, 2 forgotten."
    )
    assert applied.run("state", "list").out.split() == ["cn-other/carol"]


def test_protected_accounts(applied: World) -> None:
    """A protected account is blocked or forgotten only after a change of its own lifted it."""
    protected = TWO + "  protected: true\n"
    applied.accounts(protected)
    applied.run("apply", "--auto-approve")
    applied.accounts("alice:\n  profile: {name: Alice}\n")
    gone = applied.run("apply", "--auto-approve")
    applied.accounts(TWO + "  protected: false\n  banned: true\n")
    both = applied.run("apply", "--auto-approve")
    applied.accounts(TWO + "  protected: false\n")
    lifted = applied.run("apply", "--auto-approve")
    applied.accounts(TWO + "  protected: false\n  banned: true\n")
    banned = applied.run("apply", "--auto-approve")

    assert (gone.code, both.code, lifted.code, banned.code) == (4, 4, 0, 0)
    assert applied.vendor("bob")["enabled"] is False


def test_token_is_sent_and_kept_nowhere(world: World) -> None:
    """A token goes to the vendor and into no output, state or plan file."""
    import hashlib

    world.accounts("bot:\n  token: {from: env:IM_TOKEN_A, version: 1}\n")
    file = world.root / "next.json"
    texts = [world.run("plan", "--out", str(file)), world.run("apply", "--json", str(file))]
    world.environ["IM_TOKEN_A"] = "second-login-token"
    steady = world.run("plan")
    world.accounts("bot:\n  token: {from: env:IM_TOKEN_A, version: 2}\n")
    texts += [
        steady,
        world.run("--log-level", "debug", "apply", "--auto-approve"),
        world.run("state", "show", "cn-prod/bot"),
        world.run("state", "pull"),
    ]

    expected = hashlib.sha256(b"second-login-token").hexdigest()
    written = b"".join(path.read_bytes() for path in world.root.rglob("*") if path.is_file())
    assert steady.last.startswith("No changes.")
    assert world.vendor("bot")["token_sha256"] == expected
    for token in ("first-login-token", "second-login-token", "demo-app-secret"):
        assert token.encode() not in written
        assert not any(token in text.out + text.err for text in texts)


def test_keyed_fingerprint_notices_a_new_token(world: World) -> None:
    """With a fingerprint key a changed value is noticed although its version is the same."""
    world.write(
        "reconciler.yaml",
        (world.root / "reconciler.yaml")
        .read_text()
        .replace('"file:secrets/*"]', '"file:secrets/*"], fingerprint_key: env:FP_KEY'),
    )
    world.environ["FP_KEY"] = "a-key-of-the-tests"
    world.accounts("bot:\n  token: {from: env:IM_TOKEN_A, version: 1}\n")
    world.run("apply", "--auto-approve")
    same = world.run("plan")
    world.environ["IM_TOKEN_A"] = "second-login-token"

    changed = world.run("plan", "--json").json
    del world.environ["FP_KEY"]
    blind = world.run("plan")

    assert same.last.startswith("No changes.")
    assert [a["reason"] for a in changed["actions"]] == ["token_version"]
    assert blind.last.startswith("No changes.")


def test_keyless_apply_records_the_version_alone(world: World) -> None:
    """A fingerprint key that does not resolve fails no account: the version alone decides."""
    whole = (world.root / "reconciler.yaml").read_text()
    keyed = whole.replace('"file:secrets/*"]', '"file:secrets/*"], fingerprint_key: env:FP_KEY')
    world.write("reconciler.yaml", keyed)
    world.accounts(
        "bot:\n  token: {from: env:IM_TOKEN_A, version: 1}\n"
        "two:\n  token: {from: env:IM_TOKEN_A, version: 1}\n"
    )

    applied = world.run("apply", "--auto-approve")
    world.environ["IM_TOKEN_A"] = "second-login-token"
    world.environ["FP_KEY"] = "a-key-of-the-tests"
    later = world.run("plan")

    recorded = world.run("state", "show", "cn-prod/bot", "--json").json
    assert applied.code == 0, applied.err
    assert applied.last.startswith("Apply complete: 2 created,")
    assert recorded["token"]["version"] == 1
    assert "fingerprint" not in recorded["token"]
    assert later.last.startswith("No changes.")


def test_minted_token_reaches_its_sink(world: World) -> None:
    """A minted token is delivered to its sink, and is the one that the vendor has."""
    import hashlib

    (world.root / "secrets").mkdir(mode=0o700)
    world.accounts('bot:\n  token: {generate: true, sink: "file:secrets/bot", version: 1}\n')

    assert world.run("apply", "--auto-approve").code == 0

    sink = world.root / "secrets/bot"
    token = sink.read_text().strip()
    assert stat.S_IMODE(sink.stat().st_mode) == 0o600
    assert world.vendor("bot")["token_sha256"] == hashlib.sha256(token.encode()).hexdigest()


def test_missing_token_fails_its_account_alone(world: World) -> None:
    """A token whose reference does not resolve fails one account and names the reference."""
    world.accounts("bot:\n  token: {from: env:IM_TOKEN_NONE, version: 1}\n" + TWO.strip("\n"))

    ended = world.run("apply", "--auto-approve")

    assert ended.code == 3
    assert "env:IM_TOKEN_NONE" in ended.err
    assert ended.last == "Apply incomplete: 1 failed, 0 skipped, 0 in doubt."


def test_drift(applied: World) -> None:
    """Drift tells changed and missing accounts and its coverage, exit 2, and writes nothing."""
    clean = applied.run("drift", "--json")
    applied.console("alice", profile={"name": "Al1ce"}, enabled=False)
    applied.control("accounts/yunxin/demo-app-key/bob", method="DELETE")
    before = applied.serial(), len(applied.mutations())

    found = applied.run("drift", "--json")

    assert clean.code == 0
    assert clean.json["summary"] == {"changed": 0, "missing": 0, "unchanged": 2}
    assert clean.json["coverage"] == {"checked": 5, "recorded_only": 0}
    assert found.code == 2
    assert found.json["drift"] == [
        {
            "address": "cn-prod/alice",
            "kind": "changed",
            "changes": [
                {"path": "banned", "recorded": False, "observed": True, "cause": "console"},
                {
                    "path": "profile.name",
                    "recorded": "Alice",
                    "observed": "Al1ce",
                    "cause": "user_or_console",
                },
            ],
        },
        {"address": "cn-prod/bob", "kind": "missing", "changes": [], "cause": "console"},
    ]
    assert (applied.serial(), len(applied.mutations())) == before
    assert applied.run("drift").last == "Drift: 1 changed, 1 missing, 0 unchanged."


def test_refresh_accepts_what_the_vendor_holds(applied: World) -> None:
    """After a refresh there is no drift, and the plan shows the way back to the YAML."""
    applied.console("alice", profile={"name": "Al1ce"})

    refreshed = applied.run("refresh")
    planned = applied.run("plan", "--json").json

    assert refreshed.code == 0
    assert applied.run("drift").code == 0
    assert [(a["reason"], a["changes"]) for a in planned["actions"]] == [
        ("drift", [{"path": "profile.name", "before": "Al1ce", "after": "Alice"}])
    ]
    assert applied.run("apply", "--auto-approve").code == 0
    assert applied.vendor("alice")["profile"]["name"] == "Alice"


def test_vanished_account_is_created_again(applied: World) -> None:
    """A recorded account that the vendor lost is planned as a create, once it was looked for."""
    applied.control("accounts/yunxin/demo-app-key/bob", method="DELETE")

    planned = applied.run("plan", "--refresh", "--json").json

    assert [(a["account_id"], a["action"], a["reason"]) for a in planned["actions"]] == [
        ("bob", "create", "drift")
    ]
    applied.run("refresh")
    assert applied.run("apply", "--auto-approve").code == 0
    assert applied.vendor("bob")["profile"]["name"] == "Bob"


def test_unreachable_vendor(applied: World) -> None:
    """A vendor that cannot be reached is an error that says so, never drift."""
    applied.endpoint = "http://127.0.0.1:9"
    applied.workspace()

    ended = applied.run("drift")

    assert ended.code == 1
    assert "cn-prod could not be read" in ended.err


def test_refused_credentials_stop_the_provider(applied: World) -> None:
    """Once the vendor refuses the credentials, the rest is skipped and says why."""
    applied.environ["APP_SECRET"] = "not-the-secret"
    applied.accounts(
        "".join(f"u{n}:\n  profile: {{name: x}}\n" for n in range(40)) + TWO.strip("\n")
    )

    ended = applied.run("apply", "--auto-approve")

    found = applied.run("drift")

    assert (ended.code, found.code) == (3, 1)
    assert "refuses the credentials" in ended.err
    assert "hint: nothing was changed; check the credentials and the clock" in found.err
    assert "not-the-secret" not in ended.out + ended.err + found.err


def test_state_commands(applied: World) -> None:
    """State is listed, shown, removed and moved without a call to the vendor."""
    before = len(applied.control("requests")["requests"])

    listed = applied.run("state", "list").out.split()
    shown = applied.run("state", "show", "cn-prod/bob", "--json").json
    typo = applied.run("state", "show", "cn-prod/bop")
    unasked = applied.run("state", "rm", "cn-prod/bob")
    removed = applied.run("state", "rm", "cn-prod/bob", "--auto-approve")

    assert listed == ["cn-prod/alice", "cn-prod/bob"]
    assert shown["attributes"]["profile"] == {"name": "Bob", "sign": "hello"}
    assert (typo.code, unasked.code, removed.code) == (1, 64, 0)
    assert "did you mean cn-prod/bob?" in typo.err
    assert applied.run("state", "list").out.split() == ["cn-prod/alice"]
    assert len(applied.control("requests")["requests"]) == before


def test_renamed_provider(applied: World) -> None:
    """After `state mv` to a renamed provider the plan says no changes."""
    text = (applied.root / "reconciler.yaml").read_text()
    applied.write("reconciler.yaml", text.replace("cn-prod", "cn-live"))

    moved = applied.run("state", "mv", "cn-prod", "cn-live", "--auto-approve")

    assert moved.code == 0
    assert applied.run("plan").last == "No changes. 2 accounts as recorded."
    assert applied.run("drift").code == 0


def test_plan_against_a_snapshot(applied: World) -> None:
    """A pulled snapshot serves a plan elsewhere; a redacted one says what it did not compare."""
    whole = applied.write("whole.json", applied.run("state", "pull").out)
    redacted = applied.write("redacted.json", applied.run("state", "pull", "--redact").out)
    applied.accounts(TWO + "  banned: true\n")
    here = applied.run("plan", "--json").json

    there = applied.run("plan", "--state", str(whole), "--json").json
    blind = applied.run("plan", "--state", str(redacted), "--json").json

    assert here["fingerprint"] == there["fingerprint"] == blind["fingerprint"]
    assert [d["id"] for d in blind["diagnostics"]] == ["uncompared"]
    assert "hello" not in redacted.read_text()


def test_push_into_an_empty_workspace(applied: World, tmp_path: Path) -> None:
    """A snapshot pushed into an empty workspace plans no changes, tokens included."""
    applied.accounts(TWO + "  token: {from: env:IM_TOKEN_A, version: 3}\n")
    applied.run("apply", "--auto-approve")
    snapshot = applied.run("state", "pull").out
    other = World(tmp_path / "other", applied.endpoint)
    other.accounts(TWO + "  token: {from: env:IM_TOKEN_A, version: 3}\n")
    file = str(other.write("pulled.json", snapshot))

    unasked = other.run("state", "push", file)
    pushed = other.run("state", "push", file, "--auto-approve")

    assert (unasked.code, pushed.code) == (64, 0)
    assert other.run("plan").last == "No changes. 2 accounts as recorded."
    assert other.run("drift").code == 0


def test_push_refuses_what_is_older_or_other(applied: World) -> None:
    """An older snapshot is not pushed, only restored; an edited or redacted one is refused."""
    old = applied.write("old.json", applied.run("state", "pull").out)
    applied.accounts(TWO.replace("Bob", "Bobby"))
    applied.run("apply", "--auto-approve")
    edited = applied.write("edited.json", old.read_text().replace("Alice", "Alicia"))
    redacted = applied.write("redacted.json", applied.run("state", "pull", "--redact").out)

    for file in (old, edited, redacted):
        assert applied.run("state", "push", str(file), "--auto-approve").code == 1
    serial = applied.serial()
    restored = applied.run("state", "restore", str(old), "--auto-approve")

    assert restored.code == 0
    assert (
        applied.run("state", "show", "cn-prod/bob", "--json").json["attributes"]["profile"]["name"]
        == "Bob"
    )
    assert applied.serial() == serial + 1


def test_backup_and_restore_of_a_damaged_state(applied: World) -> None:
    """A backup brings a state back that was damaged, and keeps what was there aside."""
    before = applied.run("state", "pull").json["accounts"]
    backup = applied.run("state", "backup").out.split()[-1]
    (applied.root / ".reconciler/state.db").write_bytes(b"")
    broken = applied.run("plan")

    restored = applied.run("state", "restore", backup, "--auto-approve")

    after = applied.run("state", "pull").json["accounts"]
    assert broken.code == 1
    assert "state restore" in broken.err
    assert restored.code == 0, restored.err
    assert [one["attributes"] for one in after] == [one["attributes"] for one in before]
    assert applied.run("plan").last.startswith("No changes.")
    assert stat.S_IMODE(Path(backup).stat().st_mode) == 0o600
    assert applied.run("state", "restore", backup, "--auto-approve").code == 0


def test_history(applied: World) -> None:
    """History tells who did what to an account, in which run, and how it ended."""
    applied.accounts(TWO + "  banned: {reason: spam}\n")
    applied.run("apply", "--auto-approve")

    lines = applied.run("state", "history", "cn-prod/bob", "--json").lines

    assert [(line["action"]["action"], line["status"]) for line in lines] == [
        ("create", "confirmed"),
        ("block", "confirmed"),
    ]
    assert lines[0]["run"]["id"] != lines[1]["run"]["id"]
    assert lines[1]["run"]["fingerprint"].startswith("sha256:")


def test_held_lock(applied: World) -> None:
    """A second run is exit 5 and names the holder, whose lock opens only with its exact id."""
    applied.accounts(TWO.replace("Bob", "Bobby"))
    first = applied.start("apply", "--auto-approve", point="C8 sent", then="wait")
    first.reached()
    held = applied.run("lock", "status", "--json").json
    second = applied.run("apply", "--auto-approve")
    wrong = applied.run("force-unlock", "not-the-id", "--auto-approve")
    right = applied.run("force-unlock", held["id"], "--auto-approve")
    first.go()

    assert held["pid"] == first.pid
    assert held["operation"] == "apply"
    assert second.code == 5
    assert held["id"] in second.err
    assert wrong.code in (1, 5)
    assert right.code == 0
    # The first run lost its lock: what it did is in doubt, and the next run settles it.
    assert first.wait() == 5, first.out + first.err
    assert applied.run("apply", "--auto-approve").code == 0
    assert applied.vendor("bob")["profile"]["name"] == "Bobby"
    assert applied.run("lock", "status", "--json").json["held"] is False


def test_interrupt_finishes_what_is_in_flight(world: World) -> None:
    """One SIGINT ends an apply with 130; nothing is in doubt and the next run does the rest."""
    world.accounts("".join(f"u{n:03}:\n  profile: {{name: x}}\n" for n in range(200)))
    world.faults(
        {
            "match": {"api": "create"},
            "fault": "slow",
            "seconds": 0.1,
            "executed": True,
            "times": None,
        }
    )
    run = world.start("apply", "--auto-approve", "--json")
    until(lambda: len(world.mutations()) > 5)

    run.signal(signal.SIGINT)
    code = run.wait()
    summary = json.loads(run.out.splitlines()[-1])
    world.control("faults", method="DELETE")
    again = world.run("apply", "--auto-approve")

    assert code == 130
    assert summary["type"] == "summary"
    assert summary["skipped"] > 0
    assert summary["in_doubt"] == 0
    assert again.code == 0
    assert len([call for call in world.mutations() if call["api"] == "create"]) == 200


@pytest.mark.parametrize("after", [1, 20, 60])
def test_killed_apply_is_settled_by_the_next(world: World, after: int) -> None:
    """After SIGKILL the next apply needs no edit, makes nothing twice and reaches an empty plan."""
    world.accounts(
        "".join(f"u{n:03}:\n  profile: {{name: x}}\n  banned: true\n" for n in range(60))
    )
    world.faults({"match": {}, "fault": "slow", "seconds": 0.02, "executed": True, "times": None})
    run = world.start("apply", "--auto-approve")
    until(lambda: len(world.mutations()) >= after)

    run.kill()
    world.control("faults", method="DELETE")
    again = world.run("apply", "--auto-approve")

    assert again.code == 0, again.out + again.err
    assert world.run("plan").last == "No changes. 60 accounts as recorded."
    creates = [
        call["account_ids"][0]
        for call in world.mutations()
        if call["api"] == "create" and call["code"] == 200
    ]
    assert len(creates) == len(set(creates)) == 60
    assert all(world.vendor(f"u{n:03}")["kicks"] == 1 for n in range(0, 60, 7))


@pytest.mark.parametrize("fault", ["close", "reset", "truncated", "garbage", "html"])
@pytest.mark.parametrize("executed", [True, False])
def test_lost_replies_are_settled_by_reading(world: World, fault: str, executed: bool) -> None:
    """A lost reply, executed or not, ends confirmed, once, and with nothing in doubt."""
    world.accounts(TWO + "  banned: true\n")
    world.faults(
        *(
            {"match": {"api": api}, "fault": fault, "executed": executed}
            for api in ("create", "disable")
        )
    )

    ended = world.run("apply", "--auto-approve")

    assert ended.code == 0, ended.out + ended.err
    assert world.vendor("bob")["enabled"] is False
    assert world.vendor("bob")["kicks"] <= 1
    assert world.run("plan").last.startswith("No changes.")


def test_output_to_a_full_disk_is_an_error_and_no_bug(world: World) -> None:
    """A result that cannot be written is exit 1 with the system's reason."""
    import subprocess

    world.accounts(TWO)
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [os.sys.executable, "-P", "-m", "reconciler", "--chdir", str(world.root), "plan"],
            env=world.environ,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr
    assert "bug" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_environment_options(world: World) -> None:
    """Options come from the environment too, and what is typed wins."""
    world.accounts(TWO)
    world.environ["RECONCILER_CLI_ARGS_plan"] = "--json --detailed-exitcode"

    ended = world.run("plan")

    assert ended.code == 2
    assert ended.json["summary"]["create"] == 2
    assert world.run("plan", "--format", "text").out.startswith("Workspace")


def test_environment_options_are_put_where_they_belong(world: World) -> None:
    """Options that stand before a command, or behind a part of one, may come from there, too."""
    world.accounts(TWO)
    world.environ["RECONCILER_CLI_ARGS"] = "--no-color --log-level=debug --log-level error"
    world.environ["RECONCILER_CLI_ARGS_state_list"] = "--json"
    world.environ["RECONCILER_CLI_ARGS_lock"] = "--json"

    assert world.run("plan").code == 0
    assert world.run("apply", "--auto-approve").code == 0
    assert [one["address"] for one in world.run("state", "list").json]
    assert world.run("lock", "status").json["held"] is False
    assert world.run("state").code == 64


@pytest.mark.parametrize("damage", [b"", b"not a database", b"SQLite format 3\0" + bytes(4096)])
def test_damaged_state_is_refused(applied: World, damage: bytes) -> None:
    """A damaged state file is an error that names it, and is never taken for an empty state."""
    path = applied.root / ".reconciler/state.db"
    path.write_bytes(damage)

    for words in (["plan"], ["apply", "--auto-approve"], ["state", "list"]):
        ended = applied.run(*words)
        assert ended.code == 1, (words, ended.out)
        assert "state.db" in ended.err
        assert "to create" not in ended.out


def test_missing_workspace_names_init(world: World) -> None:
    """A folder without a workspace is an error whose hint is `init`."""
    (world.root / "reconciler.yaml").unlink()

    ended = world.run("plan")

    assert ended.code == 1
    assert "reconciler init" in ended.err


def test_demo_tells_the_whole_story(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo ends well, in CI too, shows each command, and keeps its workspace if asked."""
    # What it starts are processes as ever, but not of an interpreter that imports it all anew.
    asked = '[ "$1 $2 $3" = "-P -m reconciler" ] && shift 3'
    program(tmp_path / "python", f"{asked} && {forking().line}")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("CI", "true")
    ended = world.run("demo", "--keep", str(tmp_path / "kept"))

    assert ended.code == 0, ended.out + ended.err
    assert "$ reconciler plan --out change.plan.json" in ended.out
    assert "Drift: 1 changed, 0 missing, 2 unchanged." in ended.out
    assert (tmp_path / "kept/accounts/team.yaml").exists()
