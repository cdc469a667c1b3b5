"""Faults of the HTTP store: what is no state is refused, and no write is lost or done twice."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from state_server import PASSWORD, Fault
from store_conformance import Clock, holder, record, run, seen, where
from store_http import FIXTURES, TIMEOUT, write

from reconciler.errors import Locked, StateError
from reconciler.stores.remote_content import _seal
from reconciler.values import canonical

clock, filled, opens, server = FIXTURES


# What is read


UNREADABLE = {
    "500": Fault("GET", 500, times=99),
    "503-page": Fault("GET", 503, b"<html>busy</html>", times=99),
    "401": Fault("GET", 401),
    "403": Fault("GET", 403),
    "page": Fault("GET", 200, b"<html>Sign in</html>"),
    "empty": Fault("GET", 200, b""),
    "null": Fault("GET", 200, b"null"),
    "list": Fault("GET", 200, b"[]"),
    "nothing": Fault("GET", 200, b"{}"),
    "terraform": Fault("GET", 200, b'{"version": 4, "serial": 9, "resources": []}'),
    "twice": Fault("GET", 200, b'{"tool": "reconciler", "tool": "reconciler"}'),
    "deep": Fault("GET", 200, b"[" * 100_000),
    "redirect": Fault("GET", 302, headers={"Location": "http://169.254.169.254/"}),
    **{str(status): Fault("GET", status) for status in (400, 405, 409, 412, 423, 501)},
    "closed": Fault("GET", 0, times=99),
    "sum": Fault("GET", 200, b"{}", times=99, headers={"Content-MD5": "AAAA"}),
}


@pytest.mark.parametrize("fault", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_state_is_refused(filled, opens, tmp_path, fault):
    """An answer that is not the state is an error that says so, never an empty state."""
    filled.faults.append(replace(fault))
    with pytest.raises(StateError) as refused:
        opens(tmp_path / "elsewhere").identity()
    (finding,) = refused.value.diagnostics
    assert filled.address in finding.summary
    assert finding.hint
    assert PASSWORD not in f"{finding}"


def test_passing_faults_are_waited_out(filled, opens):
    """A server that fails for a moment is asked again."""
    filled.faults += [Fault("GET", 503, times=2), Fault("GET", 0, times=1)]
    assert len(list(opens().index())) == 10


def test_silence_ends(filled, opens):
    """A server that never answers is given up."""
    filled.faults.append(Fault("GET", -1, times=99))
    with pytest.raises(StateError, match="ReadTimeout"):
        opens(timeout=TIMEOUT, deadline=0.5).identity()


def spoil(server, **facts):
    """Change the stored document's head, and make its digest fit again."""
    shape = json.loads(server.document)
    shape.update(facts)
    shape.pop("digest")
    rows = {
        name: [canonical(row) for row in shape.pop(name)]
        for name in ("accounts", "journal", "runs")
    }
    told = _seal(shape, rows)
    shape |= {name: [json.loads(row) for row in part] for name, part in rows.items()}
    server.document = canonical({**shape, "digest": f"sha256:{told}"})


@pytest.mark.parametrize(
    ("facts", "id"),
    [
        ({"workspace": "other"}, "state-other-workspace"),
        ({"version": 2}, "state-newer"),
        ({"serial": 1}, "state-rolled-back"),
        ({"lineage": "00000000-0000-0000-0000-000000000000"}, "state-rolled-back"),
        ({"fence": 7}, "state-rolled-back"),
        ({"tool": "terraform"}, "state-foreign"),
        ({"journal": 3}, "state-corrupt"),
    ],
)
def test_foreign_newer_and_older_is_refused(filled, opens, facts, id):
    """Another's, a newer version's and an older document is refused, also one that is intact."""
    if "journal" in facts:
        filled.document = filled.document.replace(b'"journal":[', b'"journal":3,"x":[')
    else:
        spoil(filled, **facts)
    with pytest.raises(StateError) as refused:
        opens().identity()
    assert refused.value.diagnostics[0].id == id


def test_missing_after_it_was_seen_is_refused(filled, opens, tmp_path):
    """A state that is gone is no new state where it was seen before; elsewhere it may be."""
    filled.document = None
    with pytest.raises(StateError) as refused:
        opens().identity()
    assert refused.value.diagnostics[0].id == "state-missing"
    assert opens(tmp_path / "elsewhere").identity().serial == 0


@pytest.mark.parametrize("what", ["gone", "older", "another's"])
def test_what_is_taken_away_under_a_writer(filled, opens, tmp_path, what):
    """A document that is deleted or replaced while a run writes is never written over."""
    older = filled.document
    with suppress(StateError, Locked), opens().lock(holder()) as writer:
        writer.begin(run("run-2"))
        filled.document = {"gone": None, "older": older, "another's": b'{"serial": 99}'}[what]
        before = filled.document
        for _ in range(2):
            with pytest.raises((StateError, Locked), match=r"does not hold any more|has lost"):
                writer.save([record(50)], [], "import")
    assert filled.document == before


def test_any_flipped_byte_is_found(filled, opens, tmp_path):
    """No byte of the document can change its meaning unnoticed."""
    whole = filled.document
    found = 0
    for at in range(0, len(whole), 37):
        filled.document = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        try:
            read = seen(opens(tmp_path / "elsewhere"))
        except StateError:
            found += 1
            continue
        # White space between values may differ; what they say may not.
        filled.document = whole
        assert read == seen(opens())
    assert found > len(whole) / 37 * 0.9


def test_a_server_may_lay_json_out_anew(filled, opens):
    """A server that keeps values instead of bytes is fine: the digest is over values."""
    filled.tampers = lambda document: json.dumps(json.loads(document), indent=2).encode()
    store = opens()
    with store.lock(holder()) as writer:
        writer.begin(run("run-2"))
        writer.save([record(50)], [], "import")
    assert len(list(opens().index())) == 11


# What is written


PASSING = {
    "500": Fault("POST", 500, path="/im"),
    "500-after": Fault("POST", 500, after=True, path="/im"),
    "closed": Fault("POST", 0, path="/im"),
    "closed-after": Fault("POST", 0, after=True, path="/im"),
    "silent": Fault("POST", -1, path="/im"),
    "silent-after": Fault("POST", -1, after=True, path="/im"),
    "page": Fault("POST", 200, b"<html>Sign in</html>", path="/im"),
    "page-after": Fault("POST", 200, b" <html>", after=True, path="/im"),
    "twice-after": Fault("POST", 502, after=True, times=2, path="/im"),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_write_without_an_answer_is_looked_up(filled, opens, fault):
    """A write that may have taken effect is written once: it is read before it is repeated."""
    filled.faults.append(replace(fault))
    before = len(filled.versions)
    write(opens(timeout=TIMEOUT))
    assert len(filled.versions) - before == 3
    assert where(50) in dict(opens().index())
    assert opens().unresolved() == ()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 302])
def test_a_refused_write_is_an_error(filled, opens, status):
    """A write that the server refuses is an error that says so; what stood there still stands."""
    before = filled.document
    filled.faults.append(Fault("POST", status, path="/im"))
    with pytest.raises(StateError, match=str(status)):
        write(opens())
    assert filled.document == before
    assert filled.lock is None
    write(opens())


def test_too_large_is_an_error(filled, opens):
    """A server's limit of size is told as what it is."""
    filled.most = 100
    with pytest.raises(StateError, match="larger"):
        write(opens())


@pytest.mark.parametrize("status", [409, 423, 412])
def test_a_write_under_a_lost_lock_is_refused(filled, opens, status):
    """A server that knows the lock as another's is believed: the run has lost it."""
    filled.faults.append(Fault("POST", status, path="/im"))
    with pytest.raises(Locked):
        write(opens())


@pytest.mark.parametrize("enforces", [True, False])
def test_two_writers(filled, opens, clock, enforces):
    """Of a writer and the one who took its lock, one writes; also where the server lets both."""
    filled.enforces = enforces
    with opens().lock(holder("ann", host="elsewhere")) as late:
        late.begin(run("late"))
        other = opens()
        other.force_unlock(other.held().id, run("u-1"))
        with other.lock(holder("bob")) as writer:
            writer.begin(run("run-2"))
            writer.save([record(50)], [], "import")
            before = filled.document
            for _ in range(2):
                with pytest.raises(Locked):
                    late.save([record(51)], [], "import")
            assert filled.document == before
            writer.save([record(52)], [], "import")
    assert {where(50), where(52)} <= dict(opens().index()).keys()
    assert where(51) not in dict(opens().index())


def test_a_writer_that_slept_is_refused(filled, opens, clock):
    """Who takes a lock over writes that down at once, so that a holder waking up is kept out."""
    filled.enforces = False
    asleep = Clock()
    with opens(clock=asleep).lock(holder("ann", host="elsewhere")) as late:
        late.begin(run("late"))
        clock.now += 61
        with opens().lock(holder("bob")):
            before = seen(opens())
            with pytest.raises(Locked):
                late.save([record(51)], [], "import")
            assert seen(opens()) == before


def test_every_document_has_a_serial_of_its_own(filled, opens):
    """GitLab's serial rises with every write, the state's only with its records."""
    write(opens())
    shapes = [json.loads(version) for version in filled.versions]
    assert [shape["serial"] for shape in shapes] == [1, 2, 3, 4, 5]
    assert [shape["state_serial"] for shape in shapes] == [0, 1, 1, 1, 2]
    assert all(
        after["follows"] == before["digest"].removeprefix("sha256:")
        for before, after in pairwise(shapes)
    )
