"""Encrypted state on the command line: the whole life of it, its keys, and what people are told."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from state_server import PASSWORD, USER, serving
from store_encrypted import ID, TEXTS

from reconciler.emulator import Settings, running
from tests.canaries import contents, seen
from tests.world import World

NAME, MOBILE, REASON = "Alice Canary", "+8613800138000", "canary of a ban"
ACCOUNTS = f"""\
alice:
  profile: {{name: {NAME}, mobile: {MOBILE}}}
bob:
  profile: {{name: Bob}}
  banned: {{reason: {REASON}, ticket: TS-1}}
"""
ENCRYPTED = "state: {encryption: {key: env:ONE}}"


@pytest.fixture
def world(tmp_path):
    """A workspace whose state is encrypted, with two accounts applied."""
    with running(Settings(rate=0)) as endpoint:
        made = World(tmp_path / "im", endpoint)
        made.environ |= {name.upper(): text for name, text in TEXTS.items()}
        made.workspace(ENCRYPTED)
        made.accounts(ACCOUNTS)
        ended = made.run("apply", "--auto-approve")
        assert ended.code == 0, ended.err
        yield made


def hidden(world):
    """Return which canaries stand in a file that reconciler keeps."""
    kept = contents(world.root / ".reconciler")
    return {text for text in (NAME, MOBILE, REASON) if seen(kept, text)}


def rekeyed(world, state):
    """Name other keys and carry that out; return what was printed."""
    world.workspace(state)
    ended = world.run("state", "rekey", "--auto-approve")
    assert ended.code == 0, ended.err
    return ended.out


def test_every_command_works(world):
    """Plan, show, history, pull, backup, restore, push, mv, rm, verify and erase go on as ever."""
    assert world.run("plan").last == "No changes. 2 accounts as recorded."
    assert world.run("drift").code == 0
    assert NAME in world.run("state", "show", "cn-prod/alice").out
    assert REASON in world.run("state", "history").out
    assert ID["one"] in world.run("state", "verify").out
    assert world.run("state", "verify", "--json").json["encryption"] == ID["one"]
    pulled = world.run("state", "pull")
    assert NAME in pulled.out
    redacted = world.run("state", "pull", "--redact").out
    assert NAME not in redacted
    assert json.loads(redacted)["accounts"][0]["address"] == "cn-prod/alice"
    plain = world.write("pulled.json", pulled.out)
    assert world.run("plan", "--state", str(plain)).last.startswith("No changes.")

    made = world.run("state", "backup").last.removeprefix("Wrote ")
    assert set(json.loads(Path(made).read_text())) >= {"version", "serial", "lineage", "encrypted"}
    assert world.run("plan", "--state", made).last.startswith("No changes.")
    assert world.run("state", "rm", "cn-prod/bob", "--auto-approve").code == 0
    assert world.run("state", "restore", made, "--auto-approve").code == 0
    assert world.run("plan").last == "No changes. 2 accounts as recorded."
    assert world.run("state", "mv", "cn-prod/bob", "cn-prod/bill", "--auto-approve").code == 0
    assert world.run("state", "restore", str(plain), "--auto-approve").code == 0
    assert world.run("plan").last == "No changes. 2 accounts as recorded."
    assert hidden(world) == set()

    erased = world.run("erase", "cn-prod/alice", "--auto-approve")
    assert erased.code == 0, erased.err
    assert "1 file rewritten" not in erased.out
    assert NAME not in world.run("state", "pull").out
    assert world.run("plan").last == "No changes. 2 accounts as recorded."


def test_the_life_of_a_key(world):
    """On, over, off and on again: what people are told, and what is left on disk each time."""
    world.run("state", "backup")
    assert hidden(world) == set()

    told = rekeyed(world, "state: {encryption: {key: env:TWO, previous: [env:ONE]}}")
    assert f"now encrypted with the key {ID['two']}, before encrypted with the key" in told
    assert re.search(r"Rewrote \d backups?:", told)
    assert "Nothing here is under a previous key any more." in told
    world.workspace("state: {encryption: {key: env:TWO}}")
    assert world.run("plan").last == "No changes. 2 accounts as recorded."
    assert f"are encrypted with the key {ID['two']} already" in rekeyed(
        world, "state: {encryption: {key: env:TWO}}"
    )

    assert "now clear text" in rekeyed(world, "state: {encryption: {previous: [env:TWO]}}")
    assert hidden(world) == {NAME, MOBILE, REASON}
    world.workspace("")
    assert world.run("plan").last == "No changes. 2 accounts as recorded."
    assert "to encrypt them, write state: {encryption: {key: env:NAME}}" in rekeyed(world, "")

    world.workspace(ENCRYPTED)
    for words in (("plan",), ("apply", "--auto-approve"), ("state", "list"), ("drift",)):
        refused = world.run(*words)
        assert refused.code == 1
        assert "reconciler.yaml:10:21: error" in refused.err
        assert "reconciler state rekey" in refused.err
    assert "before clear text" in rekeyed(world, ENCRYPTED)
    assert hidden(world) == set()
    kinds = [line["kind"] for line in world.run("state", "history", "--json").lines]
    assert kinds.count("state rekey") == 3
    assert world.run("state", "history", "--action", "state rekey").out.count("rekey: done") == 3
    assert world.run("plan").last == "No changes. 2 accounts as recorded."


@pytest.mark.parametrize(
    ("state", "environ", "says"),
    [
        ("", {}, "It has no key at all."),
        ("state: {encryption: {key: env:TWO}}", {}, f"It has {ID['two']} (env:TWO)."),
        (ENCRYPTED, {"ONE": ""}, "env:ONE is not set"),
        (ENCRYPTED, {"ONE": "hunter2hunter2"}, "python3 -c"),
    ],
    ids=["no block", "another", "unset", "no key"],
)
def test_without_its_key_nothing_is_touched(world, state, environ, says):
    """Every command is refused with what is wanted; restore does not put the state aside either."""
    backup = world.run("state", "backup").last.removeprefix("Wrote ")
    before = contents(world.root / ".reconciler")
    world.workspace(state)
    world.environ |= environ
    for words in (
        ("plan",),
        ("apply", "--auto-approve"),
        ("state", "list"),
        ("state", "pull"),
        ("state", "rekey", "--auto-approve"),
        ("state", "restore", backup, "--auto-approve"),
        ("erase", "cn-prod/alice", "--auto-approve"),
    ):
        refused = world.run(*words)
        assert refused.code == 1, words
        assert says in refused.err
        assert NAME not in refused.out + refused.err
        assert "hunter2" not in refused.err
    assert contents(world.root / ".reconciler") == before
    assert world.run("validate").code == 0


def test_a_damaged_state_is_restored_encrypted(world):
    """A clear backup that takes the place of a damaged state is encrypted where it is put."""
    rekeyed(world, "state: {encryption: {previous: [env:ONE]}}")
    world.workspace("")
    world.run("state", "rm", "cn-prod/bob", "--auto-approve")
    world.accounts(ACCOUNTS.replace("Bob", "Bobby"))
    world.run("apply", "--auto-approve")
    (backup, *_) = sorted((world.root / ".reconciler/backups").glob("*.db"))
    (world.root / ".reconciler/state.db").write_bytes(b"nonsense" * 1000)
    world.workspace(ENCRYPTED)
    ended = world.run("state", "restore", str(backup), "--auto-approve")
    assert ended.code == 0, ended.err
    assert world.run("state", "verify", "--json").json["encryption"] == ID["one"]
    assert not seen((world.root / ".reconciler/state.db").read_bytes(), MOBILE)


def test_what_cannot_be_rewritten_is_named(world):
    """A backup under a key that is gone is told by name, exit 1, and the rest is done."""
    made = world.run("state", "backup").last.removeprefix("Wrote ")
    kept = Path(made).read_text()
    rekeyed(world, "state: {encryption: {key: env:TWO, previous: [env:ONE]}}")
    world.write(".reconciler/backups/old.json", kept)
    world.workspace("state: {encryption: {key: env:THREE, previous: [env:TWO]}}")
    (world.root / ".reconciler/state.db.before-v2-1-abc").write_text("")
    ended = world.run("state", "rekey", "--auto-approve")
    assert ended.code == 1
    assert f"now encrypted with the key {ID['three']}" in ended.out
    assert "state.db.before-v2-1-abc (an old copy: remove it)" in ended.out
    assert "previous key any more" not in ended.out
    assert "backups/old.json could not be rewritten" in ended.err
    assert ID["one"] in ended.err


def test_the_key_comes_out_nowhere(world):
    """Neither a log, a message, a backup nor the state holds the key, in any encoding."""
    world.environ["RECONCILER_LOG"] = "debug"
    world.workspace("state: {encryption: {key: env:TWO, previous: [env:ONE]}}")
    printed = ""
    for words in (
        *(("plan",), ("state", "verify"), ("state", "rekey", "--auto-approve"), ("state", "pull")),
        *(("state", "backup"), ("state", "history", "--json"), ("validate", "--json")),
    ):
        ended = world.run(*words)
        printed += ended.out + ended.err
    everything = printed.encode() + contents(world.root)
    for name in ("one", "two"):
        assert seen(everything, TEXTS[name]) == []
    assert ID["two"] in printed


def test_account_files_may_not_use_the_key(world):
    """A token that refers to a key of the state is a finding, whatever `secrets.allow` says."""
    world.workspace("state: {encryption: {key: env:IM_TOKEN_X, previous: [env:IM_TOKEN_Y]}}")
    world.accounts(
        "a:\n  token: {from: env:IM_TOKEN_X, version: 1}\n"
        "b:\n  token: {from: env:IM_TOKEN_Y, version: 1}\n"
    )
    found = world.run("validate", "--json").json["diagnostics"]
    assert [one["id"] for one in found] == ["forbidden-reference"] * 2


def test_state_behind_gitlab(tmp_path, world):
    """Shared behind GitLab's protocol: applied here, planned there, keys changed, all encrypted."""
    import time

    with serving(gitlab=True, clock=time.time) as server:
        settings = {"backend": "http", "username": USER, "password": "env:STATE_PASSWORD"}
        state = {**settings, **server.options, "encryption": {"key": "env:ONE"}}
        world.environ["STATE_PASSWORD"] = PASSWORD
        world.workspace(f"state: {json.dumps(state)}")
        world.accounts(ACCOUNTS.replace("alice", "carol").replace("bob", "dave"))
        assert world.run("apply", "--auto-approve").code == 0
        other = World(tmp_path / "second", world.endpoint)
        other.environ = world.environ
        for name in ("reconciler.yaml", "accounts/team.yaml"):
            other.write(name, (world.root / name).read_text())
        assert other.run("plan").last == "No changes. 2 accounts as recorded."
        state["encryption"] = {"key": "env:TWO", "previous": ["env:ONE"]}
        told = rekeyed(other, f"state: {json.dumps(state)}")
        assert "earlier versions of the state that the server keeps" in told
        assert world.run("plan").code == 1
        world.workspace(f"state: {json.dumps(state)}")
        assert world.run("plan").last == "No changes. 2 accounts as recorded."
        assert not seen(b"".join(server.versions), NAME)
        serials = [json.loads(one)["serial"] for one in server.versions]
        assert serials == sorted({*serials})


def test_clear_state_needs_no_package(world):
    """The key column is empty in a state that is clear: it is written and read as it ever was."""
    rekeyed(world, "state: {encryption: {previous: [env:ONE]}}")
    with closing(sqlite3.connect(world.root / ".reconciler/state.db")) as connection:
        assert connection.execute("SELECT proof FROM meta").fetchone() == (b"",)
        documents = connection.execute("SELECT document FROM accounts").fetchall()
    assert all(json.loads(document) for (document,) in documents)
