"""Fuzzing what people and attackers write: findings or accounts, and never another exception."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from bad_inputs import HARMFUL
from bad_inputs_readers import CSV, JSON, JSONL
from bad_inputs_workspace import WORKSPACE as WORKSPACES
from bad_inputs_yaml import BYTES, FIELDS, MACHINERY, SHAPE, TYPING
from config_capabilities import BOTH, TABLES
from config_files import read, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_planfile import full

from reconciler.changes import fingerprint, from_json
from reconciler.config import load
from reconciler.diagnostics import Diagnostic
from reconciler.errors import ReconcilerError, Stale, StateError
from reconciler.planfile import decode, encode
from reconciler.snapshot import decode as decode_snapshot
from reconciler.values import canonical, digest
from reconciler.views.text import finding
from reconciler.views.text import plan as lines

FUZZ = settings(
    derandomize=True,
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SHORT = 20_000


def corpus(*tables: list[tuple[str, str | bytes, str, str]]) -> list[bytes]:
    """Return what stands in tables of bad inputs, and what is good of the same kind."""
    found = [row[1] for table in tables for row in table]
    data = [one if isinstance(one, bytes) else one.encode() for one in found]
    return [one for one in data if len(one) < SHORT]


GOOD = """\
defaults: {provider: cn}
accounts:
  support-bot:
    provider: [cn, sg]
    profile: {name: "客服", avatar: https://a.example/b.png}
    banned: {reason: spam, evidence: ["https://x"], until: 2027-01-31T00:00:00Z}
    token: {from: env:IM_TOKEN_A, version: 3}
    labels: {team: support}
    manage: {profile: on_create}
  b: {banned: true, on_absent: block, protected: true, adopt: true}
"""
ROWS = '{"id": "a", "profile": {"name": "x", "extension": {"level": 3}}, "banned": true}\n'
CELLS = 'id,profile.name,banned,banned.reason,labels.team\na,"x\ny",,spam,b\nc,,true,,\n'
FILES = {
    "yaml": [GOOD.encode(), *corpus(SHAPE, TYPING, MACHINERY, BYTES, FIELDS)],
    "json": [b'{"accounts": {"a": {"profile": {"name": "x"}}}}', *corpus(JSON)],
    "jsonl": [ROWS.encode() * 3, *corpus(JSONL)],
    "csv": [CELLS.encode(), *corpus(CSV)],
}
SPICE = st.sampled_from(
    [
        *(b"\0", b"\n", b"\r", b"\t", b"  ", b": ", b"|\n", b"---\n", b"&a ", b"!!x ", b"<<: "),
        *b"{ } [ ] : , \" ' *a - ? > # % \\u \\ null ~ true 1e999 -0".split(),
        *(b"\xff", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
    ]
)


@st.composite
def mutated(draw, seeds):
    """Return a seed with a few pieces cut, doubled, swapped in from another, or spiced."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 12)))
        match draw(st.integers(0, 3)):
            case 0:
                data = data[:at] + data[to:]
            case 1:
                data = data[:to] + data[at:]
            case 2:
                data = data[:at] + draw(SPICE) + data[at:]
            case _:
                other = draw(st.sampled_from(seeds))
                data = data[:at] + other[at : to + 20] + data[to:]
    return data


def content(kind: str) -> st.SearchStrategy[bytes]:
    words = st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    return st.one_of(st.binary(max_size=60), words, mutated(FILES[kind]), mutated(FILES[kind]))


def told(findings: tuple[Diagnostic, ...], files: set[str]) -> None:
    """Assert that every finding is one that a person can act upon, in a place that exists."""
    assert len(findings) <= 202
    for one in findings:
        assert one.summary.endswith(".")
        assert one.id
        assert one.source is None or one.source.file in files
        assert len(one.summary) + len(one.hint) < 3000
        assert not HARMFUL.search(finding(one))


@pytest.mark.parametrize("kind", FILES)
def test_account_files_give_findings_or_accounts(tmp_path: Path, kind: str) -> None:
    """Whatever stands in an account file, reading it ends in accounts or in findings."""
    write(tmp_path, {}, BOTH.replace("**/*.yaml", "**/*"))
    file = f"accounts/a.{kind}"

    @given(content(kind))
    @FUZZ
    def check(data: bytes) -> None:
        (tmp_path / "accounts").mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(data)
        found = read(tmp_path)
        told((*found.errors, *found.warnings), {file, "reconciler.yaml"})
        for account in found.accounts:
            json.loads(account.document)

    check()


@given(content("yaml") | mutated([BOTH.encode(), *corpus(WORKSPACES)]))
@FUZZ
def test_a_workspace_file_gives_findings_or_a_workspace(tmp_path: Path, data: bytes) -> None:
    """The same for reconciler.yaml."""
    (tmp_path / "reconciler.yaml").write_bytes(data)
    try:
        load(tmp_path, capabilities=TABLES.get)
    except ReconcilerError as problem:
        findings = problem.diagnostics
    else:
        return
    assert findings
    told(findings, {"reconciler.yaml"})


def places(value, path=()):
    """Yield the path of every part of a JSON value."""
    yield path
    if not isinstance(value, dict | list):
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield from places(part, (*path, key))


def changed(value, path, new):
    """Return a JSON value with one part replaced."""
    if not path:
        return new
    value = dict(value) if isinstance(value, dict) else list(value)
    value[path[0]] = changed(value[path[0]], path[1:], new)
    return value


PLAN = json.loads(encode(full(), "1.0"))
PLACES = [path for path in places(PLAN) if path]
WRONG = st.sampled_from(
    [None, True, 7, -1, 1.5, "", "x", [], {}, ["x"], {"a": "b"}, "cn/x", "\udc00", "2027-01-01"]
)


@given(st.lists(st.tuples(st.sampled_from(PLACES), WRONG), min_size=1, max_size=3))
@settings(FUZZ, max_examples=240)
def test_a_forged_plan_is_refused_or_shown(edits) -> None:
    """A plan of wrong parts under right digests is stale, or is one that can be shown."""
    forged = PLAN
    for path, new in edits:
        with contextlib.suppress(KeyError, IndexError, TypeError):
            forged = changed(forged, path, new)
    forged = {key: value for key, value in forged.items() if key != "digest"}
    with contextlib.suppress(Exception):
        forged["fingerprint"] = fingerprint(from_json(action) for action in forged["actions"])
    seal = f"sha256:{digest(canonical(forged)).hex()}"
    try:
        plan = decode(canonical({**forged, "digest": seal}) + b"\n", "p.json")
    except Stale:
        return
    assert not HARMFUL.search("\n".join(lines(plan)))


@given(st.binary(max_size=40) | mutated([encode(full(), "1.0"), b'{"accounts":[', b"[[[["]))
@FUZZ
def test_any_bytes_are_no_crash_of_a_codec(data: bytes) -> None:
    """Bytes that are no plan and no snapshot are refused as such."""
    with contextlib.suppress(Stale):
        decode(data, "p.json")
    with pytest.raises(StateError):
        decode_snapshot(data, "s.json")
