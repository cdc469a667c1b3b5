"""Plan file: a plan as canonical JSON, and back without trusting the file."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from core_accounts import PUSH, SOON, TOKEN, account, planned, record, told, where
from core_store import Memory
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.changes import Override, to_json
from reconciler.errors import Stale
from reconciler.exits import Exit
from reconciler.planfile import check, decode, encode, shape
from reconciler.state import Intent, Settlement, Status
from reconciler.values import canonical, digest

STABLE = settings(derandomize=True, deadline=None, max_examples=60)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
documents = st.fixed_dictionaries(
    {},
    optional={
        "profile": st.dictionaries(
            st.sampled_from(["name", "sign", "extension"]), text, min_size=1
        ),
        "configuration": st.dictionaries(
            st.sampled_from(["p2p_chat_banned", PUSH]), st.booleans(), min_size=1
        ),
        "labels": st.dictionaries(text, text, min_size=1, max_size=2),
        "protected": st.booleans(),
        "ban": st.fixed_dictionaries({}, optional={"reason": text, "until": st.just(SOON)}),
        "token": st.builds(lambda n: {**TOKEN, "version": n}, st.integers(1, 3)),
    },
)


@st.composite
def plans(draw):
    """Return a plan between random documents."""
    ids = [f"u{n}" for n in range(4)]
    places = st.sampled_from([{"file": "", "line": 0}, {"file": "a.yaml", "line": 9}])
    desired = [
        account(id, adopt=draw(st.booleans()), **draw(places), **draw(documents))
        for id in ids
        if draw(st.booleans())
    ]
    store = Memory(*(record(id, **draw(documents)) for id in ids if draw(st.booleans())))
    return replace(
        planned(desired, store, on_absent=draw(st.sampled_from(["forget", "block"]))),
        allow=draw(st.dictionaries(st.sampled_from(["block", "forget"]), st.integers(0, 9))),
        overrides=tuple(draw(st.lists(st.builds(Override, text, text, text, text), max_size=2))),
        targets=tuple(draw(st.lists(st.sampled_from(["cn", "cn/u1", "sg"]), max_size=2))),
    )


@given(plans())
@STABLE
def test_decoding_gives_back_the_plan(plan):
    """decode(encode(p)) is p, overrides and findings included."""
    assert decode(encode(plan, "1.0"), "p.json") == plan


def full():
    desired = [
        account(
            "a",
            profile={"name": "客服", "sign": "s"},
            token=TOKEN,
            ban={"reason": "spam", "until": SOON},
        ),
        account("b", profile={"name": "B"}),
        account("c", adopt=True, ban={}),
    ]
    return planned(desired, Memory(record("b", profile={"name": "A"}, ban={}), record("gone")))


class TestTrust:
    def test_every_edit_of_a_byte_is_refused(self):
        """Whatever byte is changed in a plan file, even a space or a letter's case, it is stale."""
        data = encode(full(), "1.0")
        for place in range(0, len(data), 5):
            for byte in {ord(" "), ord("0"), ord('"'), data[place] ^ 0x20, data[place] ^ 1}:
                if byte != data[place]:
                    with pytest.raises(Stale):
                        decode(data[:place] + bytes([byte]) + data[place + 1 :], "p.json")

    def test_the_last_line_end_is_part_of_it(self):
        """A blank in place of the last byte, a byte more and a byte less are edits as well."""
        data = encode(full(), "1.0")
        for edited in (data[:-1] + b" ", data[:-1], data + b"\n", b" " + data):
            with pytest.raises(Stale):
                decode(edited, "p.json")

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{}",
            b"[]",
            b"null",
            b"7",
            b"\x80\x04}\x94\x8c\x07actions\x94]\x94s.",
            b"PK\x03\x04",
            b"[" * 99999,
            b'{"format_version":"1.0","format_version":"1.0"}',
            b'{"format_version":1}',
            b"\xff\xfe",
            b'{"format_version":"1.0","x":NaN}',
        ],
    )
    def test_what_is_no_plan_is_refused(self, data):
        """Pickles, archives, duplicate keys and other JSON are stale, by name, with exit 6."""
        with pytest.raises(Stale, match=r"p\.json is not a usable plan file") as caught:
            decode(data, "p.json")
        assert caught.value.exit is Exit.STALE
        assert "reconciler plan --out" in caught.value.diagnostics[0].hint

    @staticmethod
    def sealed(told_):
        """Seal an edited shape anew, as somebody would who knows the format."""
        told_ = {key: value for key, value in told_.items() if key != "digest"}
        seal = f"sha256:{digest(canonical(told_)).hex()}"
        return canonical({**told_, "digest": seal}) + b"\n"

    def test_a_plan_sealed_anew_must_still_agree_with_itself(self):
        """An extra action, a changed count or another format are refused behind a right digest."""
        told_ = shape(full(), "1.0")
        assert decode(self.sealed(told_), "p").actions == full().actions
        extra = {**told_["actions"][-1], "address": "cn/zz", "account_id": "zz"}
        wrong = {**told_["actions"][0], "account_id": "other"}
        for edited in (
            {**told_, "actions": [*told_["actions"], extra]},
            {**told_, "actions": told_["actions"][1:]},
            {**told_, "actions": [wrong, *told_["actions"][1:]]},
            {**told_, "summary": {**told_["summary"], "block": 0}},
            {**told_, "summary": {}},
            {**told_, "fingerprint": "sha256:00"},
            {**told_, "format_version": "2.0"},
            {**told_, "allow": {"delete": 1}},
            {key: value for key, value in told_.items() if key != "boundary"},
        ):
            with pytest.raises(Stale):
                decode(self.sealed(edited), "p.json")

    def test_a_newer_minor_format_is_read(self):
        """Additions do not make a plan unreadable."""
        assert decode(self.sealed({**shape(full(), "1.0"), "format_version": "1.7"}), "p")

    def test_a_plan_file_is_one_ascii_line_without_secrets(self):
        """It is canonical JSON, and a token is in it by reference and version."""
        data = encode(full(), "1.0")
        assert data.isascii()
        assert data.count(b"\n") == 1
        token = json.loads(data)["actions"][0]["changes"][-1]
        assert token == {
            "path": "token",
            "before": None,
            "after": "(v1)",
            "sensitive": True,
            "token": TOKEN,
        }

    def test_the_same_inputs_give_the_same_bytes(self):
        """Only `created_at` tells two plans of the same thing apart."""
        assert encode(full(), "1.0") == encode(full(), "1.0")


class TestCheck:
    def setup_method(self):
        self.store = Memory(record("b", profile={"name": "A"}), record("c"))
        desired = [
            account("a", ban={"until": SOON}),
            account("b", profile={"name": "B"}),
            account("c"),
        ]
        self.plan = planned(desired, self.store)
        assert told(self.plan)[-1] == ("update", "b", "config_changed")

    def check(self, workspace="prod-im", now="2027-01-15T08:00:00Z"):
        check(self.plan, self.store, workspace, now)

    def refused(self, match, **asked):
        with pytest.raises(Stale, match=match) as caught:
            self.check(**asked)
        assert caught.value.exit is Exit.STALE

    def test_a_fresh_plan_fits(self):
        """Nothing changed, so nothing is said."""
        self.check()

    def test_another_workspace_or_lineage_is_refused(self):
        """A plan belongs to one workspace and one state."""
        self.refused("workspace", workspace="test-im")
        self.store.lineage = "l-2"
        self.refused("lineage")

    def test_changes_of_other_accounts_do_not_make_it_stale(self):
        """The serial may move on as long as no touched account did."""
        self.store.save([record("c", labels={"a": "b"}), record("d")], [], "import")
        assert self.store.serial > self.plan.serial
        self.check()

    def test_a_touched_account_that_moved_is_refused(self):
        """An account that was changed, made or forgotten since makes the plan stale."""
        self.store.save([record("b", profile={"name": "Z"})], [], "refresh")
        self.refused("cn/b was changed")
        self.setup_method()
        self.store.save([], [where("b")], "state rm")
        self.refused("cn/b was changed")
        self.setup_method()
        self.store.save([record("a")], [], "import")
        self.refused("cn/a was changed")

    def test_a_boundary_that_passed_is_refused(self):
        """A ban that the plan sets must not be over when it is applied."""
        self.check(now="2027-01-31T23:59:59Z")
        self.refused("ended at", now=SOON)

    def test_a_doubt_that_arose_since_is_refused(self):
        """A touched account left in doubt by another run needs a new plan; others do not."""
        action = to_json(self.plan.actions[-1])
        self.store.intend([Intent("i-1", "run-2", where("c"), action)])
        self.check()
        self.store.intend([Intent("i-2", "run-2", where("b"), action)])
        self.refused("cn/b was left in doubt")
        self.plan = planned([account("b", profile={"name": "B"})], self.store)
        self.check()
        self.store.settle([Settlement("i-2", Status.NOT_SENT)])
        self.check()
