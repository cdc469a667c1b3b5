"""Erase: a person's data leaves records, history and backups, and the vendor is left alone."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from core_accounts import record

from reconciler import values
from reconciler.accounts import Observed
from reconciler.diff import diff, same
from reconciler.erasure import Erasure
from reconciler.state import Record
from reconciler.stores.sqlite import SqliteStore
from reconciler.values import canonical, digest, erased, is_erased, was
from tests.world import World

SALT = bytes(16)
SECRETS = (
    "Robertson",
    "13800138000",
    "likes-cats",
    "insulted Robertson",
    "case-file-99",
    "farewell",
)
BOB = """\
bob:
  profile: {name: Robertson, mobile: +8613800138000, extension: {hobby: likes-cats}}
  labels: {team: support}
  token: {from: env:IM_TOKEN_A, version: 1}
"""
BAN = """\
  banned:
    reason: insulted Robertson
    ticket: TS-1042
    evidence: ["https://example.com/case-file-99"]
    notify: farewell
"""
ALICE = "alice:\n  profile: {name: Alice}\n"


def quick(data: bytes, salt: bytes) -> str:
    """Return what stands for an erased value, from a digest that takes no 40 ms."""
    return f"erased:{salt.hex()}:{digest(data + salt).hex()}"


@pytest.fixture
def world(tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """A workspace whose bob was created, changed, read and banned; alice is somebody else."""
    monkeypatch.setattr(values, "_slow", quick)
    world = World(tmp_path, endpoint)
    _live(world)
    return world


def _live(world: World) -> None:
    world.accounts(ALICE + BOB.replace("Robertson", "Old Robertson"))
    assert world.run("apply", "--auto-approve").code == 0
    world.accounts(ALICE + BOB)
    assert world.run("apply", "--auto-approve").code == 0
    assert world.run("refresh").code == 0
    world.run("state", "backup")
    world.accounts(ALICE + BOB + BAN)
    assert world.run("apply", "--auto-approve").code == 0


def found(folder: Path) -> set[str]:
    """Return the secrets that stand in any file of a folder, as they are."""
    held = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return {one for one in SECRETS if one.encode() in held}


class TestErase:
    def test_nothing_of_it_is_left_in_any_file(self, world: World):
        """State, WAL, history, backups of both kinds: no byte of the person's data is left."""
        own = world.root / ".reconciler"
        assert found(own) == set(SECRETS)
        told = world.run("erase", "cn-prod/bob", "--auto-approve")
        assert told.code == 0, told.err
        assert found(own) == set()
        assert b"Alice" in (own / "state.db").read_bytes()

    def test_the_state_stays_whole(self, world: World):
        """Chain, seals and sums fit afterwards, here and in every backup."""
        world.run("erase", "cn-prod/bob", "--auto-approve")
        assert world.run("state", "verify").code == 0
        copies = list((world.root / ".reconciler/backups").glob("*.db"))
        assert copies
        for path in copies:
            store = SqliteStore(path, "test-im")
            assert store.chain() == store.identity().serial
            assert len(list(store.everything())) == 2
            assert list(store.history())
            store.close()
        beside = {path.suffix for path in copies[0].parent.iterdir()}
        assert beside == {".db", ".json"}

    def test_the_next_plan_sends_nothing(self, world: World):
        """While the YAML says the same there is nothing to do, and drift compares all the same."""
        sent = len(world.mutations())
        world.run("erase", "cn-prod/bob", "--auto-approve")
        assert world.run("plan").last == "No changes. 2 accounts as recorded."
        assert world.run("plan", "--refresh").last == "No changes. 2 accounts as recorded."
        assert world.run("drift").code == 0
        world.console("bob", profile={"name": "Someone"})
        changes = world.run("drift", "--json").json["drift"][0]["changes"]
        assert [one["path"] for one in changes] == ["profile.name"]
        assert is_erased(changes[0]["recorded"])
        assert world.run("apply", "--auto-approve").code == 0
        assert len(world.mutations()) == sent

    def test_a_change_is_planned_as_a_change(self, world: World):
        """A new value in the YAML is one update of that field, whose old value is not told."""
        world.run("erase", "cn-prod/bob", "--auto-approve")
        world.accounts(ALICE + BOB.replace("Robertson", "Robin") + BAN)
        planned = world.run("plan", "--json").json
        # Yunxin takes no change of a banned account, so it waits; unbanned it is sent.
        assert [one["id"] for one in planned["diagnostics"]] == ["waiting"]
        world.accounts(ALICE + BOB.replace("Robertson", "Robin"))
        told = world.run("plan").out
        assert 'profile.name  (erased) -> "Robin"' in told
        assert world.run("apply", "--auto-approve").code == 0
        assert world.vendor("bob")["profile"]["name"] == "Robin"
        assert world.run("plan").last.startswith("No changes.")

    def test_leaving_the_yaml_forgets_as_ever(self, world: World):
        """An erased account that leaves the YAML is dropped from state, as any other."""
        world.run("erase", "cn-prod/bob", "--auto-approve")
        world.accounts(ALICE)
        assert world.run("apply", "--auto-approve").code == 0
        assert world.run("state", "list").out.split() == ["cn-prod/alice"]
        assert found(world.root / ".reconciler") == set()

    def test_what_was_forgotten_is_erased_too(self, world: World):
        """History and backups of an account that is recorded no more are rewritten."""
        world.accounts(ALICE)
        world.run("apply", "--auto-approve")
        assert found(world.root / ".reconciler") == set(SECRETS)
        told = world.run("erase", "cn-prod/bob", "--auto-approve")
        assert told.code == 0
        assert "record    it has none" in told.out
        assert found(world.root / ".reconciler") == set()

    def test_it_says_what_it_did_and_what_not(self, world: World):
        """Fields, lines, files, and all that is beyond its reach are named."""
        files = sorted(map(str, (world.root / ".reconciler/backups").iterdir()))
        told = world.run("erase", "cn-prod/bob", "--auto-approve").out
        assert (
            "  record    banned.evidence, banned.notify, banned.reason, profile.extension, "
            "profile.mobile, profile.name, and what was last seen at the vendor\n"
            "  history   3 lines rewritten\n"
            "  backups   3 files rewritten\n"
        ) in told
        assert [line.strip() for line in told.splitlines() if "backups/" in line] == files
        for beyond in ("the vendor", "git", "plan files", "disk", "ticket", "guesses"):
            assert beyond in told
        again = world.run("erase", "cn-prod/bob", "--auto-approve").out
        assert "history   0 lines rewritten" in again

    def test_what_a_ban_is_for_stays_findable(self, world: World):
        """History keeps who, when, the ticket and the vendor's code; the words are gone."""
        world.run("erase", "cn-prod/bob", "--auto-approve")
        block = next(
            line
            for line in world.run("state", "history", "cn-prod/bob", "--json").lines
            if line["kind"] == "block"
        )
        assert (block["ticket"], block["code"], block["status"]) == ("TS-1042", "200", "confirmed")
        assert is_erased(block["ban_reason"])
        told = world.run("state", "history", "cn-prod/bob").out
        assert "why: (erased), ticket TS-1042" in told
        assert told.splitlines()[-1].startswith("  20")
        assert "erase cn-prod/bob: done" in told
        shown = world.run("state", "show", "cn-prod/bob").out
        assert "profile.name  (erased)" in shown
        assert '{"evidence": (erased)' in shown

    def test_nobody_is_asked_without_a_terminal(self, world: World):
        """That is wrong usage, and nothing is erased."""
        before = world.serial()
        asked = world.run("erase", "cn-prod/bob")
        assert asked.code == 64
        assert "--auto-approve" in asked.err
        assert world.serial() == before

    def test_an_unknown_account_is_an_error(self, world: World, tmp_path: Path):
        """Where nothing tells of it, also no backup, it was mistyped; nothing is recorded."""
        empty = World(tmp_path / "empty", "http://127.0.0.1:1")
        before = world.run("state", "history", "--json").out
        for one in (empty, world):
            told = one.run("erase", "cn-prod/bop", "--auto-approve")
            assert told.code == 1
            assert "cn-prod/bop is not recorded" in told.err
        assert world.run("state", "history", "--json").out == before

    def test_what_only_a_backup_holds_is_erased(self, world: World):
        """A backup may tell of an account that state and history never had."""
        data = (world.root / ".reconciler/state.db").read_bytes()
        for path in (world.root / ".reconciler").glob("state.db*"):
            path.unlink()
        copy = world.root / ".reconciler/backups/mine.db"
        copy.write_bytes(data)
        copy.chmod(0o600)
        assert world.run("erase", "cn-prod/bob", "--auto-approve").code == 0
        assert found(world.root / ".reconciler") == set()

    def test_what_is_in_doubt_is_settled_first(self, world: World):
        """An account with an unknown outcome is refused: what was asked for is still needed."""
        world.accounts(ALICE + BOB)
        world.faults(
            {"match": {"api": "disable"}, "fault": "close", "executed": False, "times": None},
            {"match": {"api": "batch_get"}, "fault": "close", "after": 1, "times": None},
        )
        assert "1 in doubt." in world.run("apply", "--auto-approve").out
        told = world.run("erase", "cn-prod/bob", "--auto-approve")
        assert told.code == 1
        assert "whose outcome is not known" in told.err
        assert "reconciler apply" in told.err

    def test_a_backup_that_cannot_be_rewritten_is_named(self, world: World):
        """All else is erased, the file is told, and the exit code is 1."""
        folder = world.root / ".reconciler/backups"
        broken = folder / "broken.json"
        broken.write_text('{"accounts":[]}')
        damaged = folder / "damaged.db"
        shutil.copy(next(folder.glob("auto-*.db")), damaged)
        with damaged.open("r+b") as file:
            file.truncate(9000)
        told = world.run("erase", "cn-prod/bob", "--auto-approve")
        assert told.code == 1
        for file in (broken, damaged):
            assert f"{file} could not be rewritten" in told.err
        assert "remove the file" in told.err
        damaged.unlink()
        assert found(world.root / ".reconciler") == set()

    def test_a_backup_brings_nothing_back(self, world: World):
        """A state restored from a rewritten backup has the account, erased."""
        backup = sorted((world.root / ".reconciler/backups").glob("auto-*.db"))[-1]
        world.run("erase", "cn-prod/bob", "--auto-approve")
        assert world.run("state", "restore", str(backup), "--auto-approve").code == 0
        profile = world.run("state", "show", "cn-prod/bob", "--json").json["attributes"]["profile"]
        assert all(is_erased(one) for one in profile.values())
        assert found(world.root / ".reconciler") == set()

    def test_an_old_process_that_reads_is_told(self, world: World):
        """While another process reads, its log holds the old pages: that is said, not hidden."""
        with closing(sqlite3.connect(world.root / ".reconciler/state.db")) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM accounts").fetchall()
            told = world.run("erase", "cn-prod/bob", "--auto-approve")
            assert told.code == 1
            assert "another process is reading" in told.err
        assert world.run("erase", "cn-prod/bob", "--auto-approve").code == 0
        assert found(world.root / ".reconciler") == set()

    def test_saved_plans_are_stale(self, world: World):
        """The record has a new version, so a plan that was saved before is not applied."""
        world.accounts(ALICE + BOB)
        file = str(world.root / "next.plan.json")
        world.run("plan", "--out", file)
        world.run("erase", "cn-prod/bob", "--auto-approve")
        assert world.run("apply", file).code == 6

    def test_in_objects_as_in_a_file(self, tmp_path: Path, endpoint: str):
        """State in object storage is rewritten whole, and its steps with it."""
        world = World(tmp_path / "ws", endpoint)
        objects = tmp_path / "objects"
        world.workspace(f"state: {{backend: object, url: {objects.as_uri()}}}")
        _live(world)
        assert found(objects) == set(SECRETS)
        told = world.run("erase", "cn-prod/bob", "--auto-approve")
        assert told.code == 0, told.err
        assert "earlier versions of the objects" in told.out
        assert found(tmp_path / "objects") == set()
        assert found(world.root / ".reconciler") == set()
        assert world.run("plan").last == "No changes. 2 accounts as recorded."
        assert world.run("state", "verify").code == 0


class TestErasure:
    def test_equal_values_stay_equal(self):
        """Within one erasure a value becomes one text, so applied and observed still agree."""
        one = Erasure(SALT).record(
            record(profile={"name": "A"}, observed=Observed(True, {"name": "A", "sign": "s"}))
        )
        assert one.document["profile"] == {"name": one.observed.profile["name"]}
        assert one.undrifted
        assert was(one.observed.profile["sign"], "s")

    def test_another_salt_is_another_text(self):
        """Two accounts with the same value cannot be told to have it."""
        assert erased("A", SALT) != erased("A", b"1" * 16)

    def test_it_is_the_same_value_and_no_other(self):
        """What was erased is told from everything else, types included."""
        mark = erased("1", SALT)
        assert was(mark, "1")
        assert not was(mark, 1)
        assert not was(mark, "2")
        assert not was("1", "1")
        assert same("profile.name", mark, "1")
        assert same("profile.name", "1", mark)
        assert not same("profile.name", mark, "2")
        assert same("evidence", erased(["a"], SALT), ["a"])
        assert not same("evidence", erased(["a"], SALT), ["b"])
        assert list(diff({"evidence": erased(["a"], SALT)}, {"evidence": ["a"]})) == []

    def test_an_extension_is_compared_by_meaning(self):
        """Spaces and the order of keys make no difference, before erasing or after."""
        one = Erasure(SALT).record(record(profile={"extension": '{"b":1,"a":2}'}))
        mark = one.document["profile"]["extension"]
        assert same("profile.extension", mark, '{ "a": 2, "b": 1 }')
        assert not same("profile.extension", mark, '{"a":2}')

    def test_erasing_twice_changes_nothing(self):
        """What is erased stays as it is, so the salt of the first time decides."""
        first = Erasure(SALT).record(record(profile={"name": "A"}, ban={"reason": "x"}))
        assert Erasure(b"1" * 16).record(first) == first

    def test_only_personal_fields_go(self):
        """Labels, flags, ticket, end of the ban and token references stay as they are."""
        document = {
            "profile": {"name": "A", "custom": {"K": "v"}, "gender": 1},
            "configuration": {"p2p_chat_banned": True},
            "labels": {"team": "support"},
            "ban": {"reason": "r", "ticket": "T", "until": "2027-01-31T00:00:00Z", "kick": True},
            "token": {"from": "env:A", "version": 1},
            "protected": True,
        }
        after = Erasure(SALT).record(Record("cn/a", document, True)).document
        assert {k: v for k, v in after.items() if k not in ("profile", "ban")} == {
            k: v for k, v in document.items() if k not in ("profile", "ban")
        }
        assert after["ban"] == {**document["ban"], "reason": after["ban"]["reason"]}
        assert is_erased(after["ban"]["reason"])
        assert after["profile"].keys() == document["profile"].keys()
        assert is_erased(after["profile"]["custom"]["K"])
        assert is_erased(after["profile"]["gender"])

    def test_an_action_keeps_its_shape(self):
        """Values of personal paths go, before and after; no value stays no value."""
        action = {
            "action": "update",
            "changes": [
                {"path": "profile.name", "before": None, "after": "B"},
                {"path": "banned.until", "before": None, "after": "2027-01-31T00:00:00Z"},
                {"path": "labels.team", "before": "a", "after": "b"},
            ],
        }
        after = Erasure(SALT).action(action)
        assert after["changes"][0]["before"] is None
        assert is_erased(after["changes"][0]["after"])
        assert after["changes"][1:] == action["changes"][1:]
        assert Erasure(SALT).action({"action": "import", "version": 3}) == {
            "action": "import",
            "version": 3,
        }
        json.loads(canonical(after))
