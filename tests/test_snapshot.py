"""Snapshot: the whole state as JSON, and as a reader to plan against."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from core_accounts import PUSH, SOON, TOKEN, account, planned, record, told
from core_store import Memory
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.accounts import MISSING, Observed
from reconciler.errors import StateError
from reconciler.snapshot import decode, encode

STABLE = settings(derandomize=True, deadline=None, max_examples=60)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
bans = st.fixed_dictionaries(
    {},
    optional={
        "reason": text,
        "ticket": text,
        "until": st.just(SOON),
        "kick": st.just(False),
        "evidence": st.lists(text, max_size=2),
        "notify": text,
    },
)
sights = (
    st.none()
    | st.just(MISSING)
    | st.builds(
        Observed,
        st.just(True),
        st.dictionaries(st.sampled_from(["name", "sign"]), text, max_size=2),
        st.dictionaries(st.just(PUSH), st.booleans(), max_size=1),
        st.none() | st.booleans(),
    )
)


@st.composite
def records(draw, id):
    """Return a record as planning and applying can make it."""
    sections = {
        "profile": st.dictionaries(st.sampled_from(["name", "sign"]), text, min_size=1),
        "configuration": st.dictionaries(st.just(PUSH), st.booleans(), min_size=1),
        "labels": st.dictionaries(text, text, min_size=1, max_size=2),
        "ban": bans,
        "token": st.just(TOKEN),
        "protected": st.booleans(),
        "on_absent": st.sampled_from(["forget", "block", "error"]),
    }
    document = draw(st.fixed_dictionaries({}, optional=sections))
    key = draw(st.sampled_from(["", "k"])) if "token" in document else ""
    return record(
        id,
        banned=draw(st.booleans()),
        observed=draw(sights),
        token_key=key,
        updated_at="2027-01-01T00:00:00Z",
        run="r",
        version=draw(st.integers(0, 9)),
        waiting=draw(st.sampled_from([(), ("token",)])),
        **document,
    )


@given(st.data())
@STABLE
def test_decoding_gives_back_what_was_encoded(data):
    """Records, identity and apps survive, digests included: decode(encode(x)) is x."""
    store = Plain(*(data.draw(records(f"u{n}")) for n in range(3)))
    made = decode(b"".join(encode(store)), "s.json")
    assert list(made.everything()) == list(store.everything())
    assert list(made.index()) == list(store.index())
    assert (made.identity(), made.apps()) == (store.identity(), store.apps())


class Plain(Memory):
    """Keeps records as they are, so that only the snapshot's own JSON is tried."""

    def _keep(self, one):
        self.rows[one.address] = one

    def _load(self, row):
        return row


PERSONAL = record(
    profile={"name": "SECRET-name", "mobile": "SECRET-mobile", "custom": {"K": "SECRET-custom"}},
    labels={"team": "kept"},
    configuration={PUSH: True},
    ban={"reason": "spam", "evidence": ["SECRET-evidence"], "notify": "SECRET-notify"},
    observed=Observed(True, {"name": "SECRET-seen"}, {PUSH: True}, True),
)


def test_redaction_leaves_no_personal_value_in_the_bytes():
    """Profiles (also observed ones), evidence and notifications are gone, the rest is kept."""
    data = b"".join(encode(Memory(PERSONAL), redact=True))
    assert b"SECRET" not in data
    for kept in (b"kept", b"spam", PUSH.encode()):
        assert kept in data
    assert b"SECRET-evidence" in b"".join(encode(Memory(PERSONAL)))


def test_a_redacted_snapshot_reads_as_one():
    """It says so, and asks for a closer look at every account."""
    made = decode(b"".join(encode(Memory(PERSONAL), redact=True)), "s.json")
    assert made.redacted
    assert [look for _, look in made.index()] == [None]


def test_a_plan_against_a_snapshot_is_the_plan_against_its_store():
    """Planning needs no store; fingerprints agree."""
    store = Memory(record("a", profile={"name": "A"}, protected=False), record("b", ban={}))
    made = decode(b"".join(encode(store)), "s.json")
    desired = [account("a", profile={"name": "B"}, protected=False), account("b")]
    assert planned(desired, made).fingerprint == planned(desired, store).fingerprint
    same = [account("a", profile={"name": "A"}, protected=False), account("b", ban={})]
    assert told(planned(same, made)) == []
    assert (made.unresolved(), made.held(), list(made.history())) == ((), None, [])


def test_accounts_stand_in_lines_and_sorted():
    """A snapshot is one JSON value with an account a line, sorted by address."""
    data = b"".join(encode(Memory(record("b"), record("a"))))
    assert [one["address"] for one in json.loads(data)["accounts"]] == ["cn/a", "cn/b"]
    assert data.count(b"\n") == 4
    assert json.loads(data)["tool"] == "reconciler"


def test_an_empty_state_has_a_snapshot():
    """No account is a snapshot too."""
    assert list(decode(b"".join(encode(Memory())), "s").everything()) == []


def test_the_chain_comes_along_and_may_be_missing():
    """A store's chain is in the snapshot and under its digest; older ones without are read."""
    store = Memory(record("a"))
    who = replace(store.identity(), chain="")
    store.identity = lambda: who
    assert decode(b"".join(encode(store)), "s").identity().chain == ""
    who = replace(who, chain="ab")
    data = b"".join(encode(store))
    assert decode(data, "s").identity().chain == "ab"
    with pytest.raises(StateError):
        decode(data.replace(b'"chain":"ab"', b'"chain":"ac"'), "s")


def edits():
    told_ = json.loads(b"".join(encode(Memory(record("a", profile={"name": "A"}), record("b")))))
    first, second = told_["accounts"]
    yield "banned", {**told_, "accounts": [{**first, "applied_ban": True}, second]}
    yield "dropped", {**told_, "accounts": [first]}
    yield "swapped", {**told_, "accounts": [second, first]}
    yield "serial", {**told_, "serial": 99}
    yield "lineage", {**told_, "lineage": "other"}
    yield "redacted", {**told_, "redacted": True}
    yield "version", {**told_, "version": 2}
    yield "digest", {**told_, "digest": "sha256:" + "0" * 64}
    yield "tool", {**told_, "tool": "terraform"}
    yield "extra", {**told_, "more": 1}


@pytest.mark.parametrize(("what", "edited"), list(edits()), ids=[what for what, _ in edits()])
def test_tampering_is_refused(what, edited):
    """Any changed fact is found by the digest, and the message names the file."""
    with pytest.raises(StateError, match=r"s\.json is not a usable snapshot"):
        decode(json.dumps(edited).encode(), "s.json")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\x80\x04K\x01.",
        b"[" * 100_000,
        b'{"tool":"reconciler"}',
        b'{"tool":"reconciler","tool":"reconciler"}',
        b"\xff",
    ],
)
def test_what_is_no_snapshot_is_refused(data):
    """Anything else is a StateError and never an empty state."""
    with pytest.raises(StateError):
        decode(data, "s.json")


def test_a_cut_snapshot_is_refused():
    """Every prefix of a snapshot is refused."""
    data = b"".join(encode(Memory(record("a"), replace(record("b"), version=9))))
    for end in range(0, len(data) - 1, 7):
        with pytest.raises(StateError):
            decode(data[:end], "s.json")
