"""`apply --enqueue` and `worker` at the command line: what is queued, done, refused and told."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import shutil
import signal
import socket
import sys
import threading
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
import store_postgres
import yaml
from jsonschema import Draft202012Validator

from reconciler import apply, load, plan
from reconciler.cluster import chunks, engine, work
from reconciler.config import schema_text
from tests.cluster_world import clustered
from tests.forks import until
from tests.shared_emulator import control, emulating
from tests.world import World

database = store_postgres.database
ROOT = Path(__file__).parents[1]
FOUR = [f"u{n}: {{profile: {{name: N{n}}}}}" for n in range(4)]


@pytest.fixture
def world(tmp_path, database):
    """A workspace of one app, with four accounts written and nothing done."""
    with clustered(tmp_path, database) as made:
        made.declare(*FOUR)
        yield made


def enqueue(world, *words):
    """Queue what is planned now."""
    return world.run("apply", "--auto-approve", "--enqueue", *words)


def drain(world, *words):
    """Carry out what is queued."""
    return world.run("worker", "--drain", *words)


def waiting(world):
    """Return how many chunks are not done."""
    return world.ask("SELECT count(*) FROM reconciler_chunks WHERE done_at IS NULL")[0][0]


def test_queued_once_and_done_once(world, monkeypatch):
    """A plan file is queued once, however often; a worker does it, and history names both."""
    monkeypatch.setattr(chunks, "LARGEST", 3)
    plan = str(world.root / "plan.json")
    world.run("plan", "--out", plan)

    first, again = (world.run("apply", plan, "--enqueue") for _ in range(2))
    before = world.run("worker", "--status")
    worked = drain(world)
    idle = drain(world)

    assert (first.code, first.last) == (
        0,
        "Enqueued 1 app, 2 chunks, 4 actions; run: reconciler worker",
    )
    assert (again.code, again.last) == (
        0,
        "Enqueued nothing new: of this plan 2 chunks wait already; run: reconciler worker",
    )
    assert before.last == "2 chunks to do, 0 workers."
    assert worked.code == 0
    assert [line[:26] for line in worked.out.splitlines()] == [
        "a, chunk 1: Apply complete",
        "a, chunk 2: Apply complete",
    ]
    assert (idle.code, idle.out) == (0, "")
    assert world.told("a") == [("create", f"u{n}") for n in range(4)]
    assert world.run("plan", "--detailed-exitcode").code == 0
    assert world.run("apply", plan, "--enqueue").code == 6
    run = world.run("state", "history", "a/u1", "--json").lines[0]["run"]
    assert run["fingerprint"] == json.loads(Path(plan).read_text())["fingerprint"]
    assert (run["operation"], run["context"]["worker"]) == ("apply", socket.gethostname())
    assert "    worker " in world.run("state", "history", "a/u1").out


def test_the_streams_fit_their_schema(world):
    """Every line of both commands fits the schema; the last ones tell how it ended."""
    queued, worked = enqueue(world, "--json"), drain(world, "--json")

    events = Draft202012Validator(json.loads(schema_text("events")))
    for line in (*queued.lines, *worked.lines):
        events.validate(line)
    kinds = [line["type"] for line in queued.lines]
    assert kinds == ["version", *["planned_change"] * 4, "enqueued"]
    told = queued.lines[-1]
    assert (told["apps"], told["chunks"], told["actions"], told["fresh"]) == (["a"], 1, 4, 1)
    assert [line["type"] for line in worked.lines[:2]] == ["version", "chunk"]
    assert (worked.lines[-1]["type"], worked.lines[-1]["applied"]) == ("summary", {"create": 4})
    assert (worked.lines[-1]["app"], worked.lines[-1]["chunk"]) == ("a", 1)
    status = world.run("worker", "--status", "--json").json
    assert status["workers"] == []
    assert [
        (one["app"], one["chunks"], one["done"], one["applied"]) for one in status["queue"]
    ] == [("a", 1, 1, {"create": 4})]


def test_what_changed_meanwhile_is_left_alone_and_named(world):
    """Done by somebody else is done; changed by somebody fails by name; the others are done."""
    assert enqueue(world).code == 0
    world.declare(FOUR[0], "u1: {profile: {name: Other}}")
    targets = ("--target", "a/u0", "--target", "a/u1")
    assert world.run("apply", "--auto-approve", *targets).code == 0
    control(world.apps["a"], "requests", method="DELETE")

    ended = drain(world)

    assert (ended.code, ended.last) == (
        3,
        "a, chunk 1: Apply incomplete: 1 failed, 0 skipped, 0 in doubt.",
    )
    assert "create of a/u1 failed [stale]: another run changed it" in ended.err
    assert world.told("a") == [("create", "u2"), ("create", "u3")]
    assert drain(world).code == 0


@pytest.mark.parametrize("words", [(), ("--enqueue",), ("--target", "a"), ("saved",), ("api",)])
def test_what_the_files_want_no_more_is_not_carried_out(world, words):
    """A block that waits and was taken out of the files: the next apply of them withdraws it.

    Not so one that names an account, or a plan that was saved before it was queued.
    """
    assert world.run("apply", "--auto-approve").code == 0
    world.declare(*FOUR[1:], "u0: {profile: {name: N0}, banned: {reason: spam}}")
    assert enqueue(world).code == 0
    world.declare(*FOUR)
    control(world.apps["a"], "requests", method="DELETE")

    saved = str(world.root / "plan.json")
    assert world.run("plan", "--out", saved).code == 0
    with psycopg.connect(world.url, autocommit=True) as connection:
        for age, *other in (("0", "--target", "a/u1"), ("-60", saved), ("60",)):
            connection.execute(
                "UPDATE reconciler_queue.reconciler_chunks"
                f" SET queued_at = now() - interval '{age} seconds'"
            )
            if other:
                ended = world.run("apply", "--auto-approve", *other)
                assert ("workers" in ended.err, waiting(world)) == (False, 1)
    if words == ("api",):
        said = []
        with load(world.root, environ=world.environ) as workspace:
            assert apply(workspace, plan(workspace), report=said.append).complete
        told = str(said)
    else:
        words = [saved if word == "saved" else word for word in words]
        ended = world.run("apply", "--auto-approve", *words)
        assert ended.code == 0
        told = ended.err
    drained = drain(world)

    assert "1 chunk of earlier plans, 1 action, will not be carried out by workers" in told
    assert (drained.code, drained.out) == (0, "")
    assert world.told("a") == []
    assert "1 of 1 chunk done, Apply incomplete" in world.run("worker", "--status").out


def test_a_plan_made_again_replaces_one_that_can_no_longer_be_carried_out(world):
    """Of the same fingerprint, but of other versions, a lost state or another key: it is new."""
    world.environ |= {"ONE": KEYS[0]}
    world.state = ", encryption: {key: env:ONE}"
    world.workspace()
    assert enqueue(world).code == 0
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA reconciler CASCADE")
    shutil.rmtree(world.root / ".reconciler")
    again = [enqueue(world) for _ in range(2)]
    assert [one.last.partition(";")[0] for one in again] == [
        "Enqueued 1 app, 1 chunk, 4 actions",
        "Enqueued nothing new: of this plan 1 chunk wait already",
    ]
    assert drain(world).code == 0
    world.declare(*FOUR[1:], "u0: {profile: {name: New}}")
    assert enqueue(world).code == 0
    for name in ("Other", "N0"):
        world.declare(*FOUR[1:], f"u0: {{profile: {{name: {name}}}}}")
        assert world.run("apply", "--auto-approve", "--target", "a/u0").code == 0
    world.declare(*FOUR[1:], "u0: {profile: {name: New}}")
    assert "1 action;" in enqueue(world).last
    assert (drain(world).code, waiting(world)) == (0, 0)
    assert world.run("plan", "--detailed-exitcode").code == 0


def test_one_that_fails_fails_alone_and_a_plan_made_again_is_queued_again(world):
    """A refused account does not stop the chunk; the next plan, of the same thing, is queued."""
    world.faults({"match": {"account_id": "u2", "api": "create"}, "fault": "code", "code": 414})
    queued, ended = enqueue(world), drain(world)
    world.declare(*FOUR)
    again, after = enqueue(world), drain(world)
    world.faults(
        {"match": {"account_id": "u9", "api": "create"}, "fault": "code", "code": 414, "times": 2}
    )
    world.declare(*FOUR, "u9: {}")
    rounds = [(enqueue(world).last, drain(world).code) for _ in range(3)]

    assert (queued.code, ended.code, again.code, after.code) == (0, 3, 0, 0)
    assert "3 created" not in ended.last
    assert rounds == [
        ("Enqueued 1 app, 1 chunk, 1 action; run: reconciler worker", code) for code in (3, 3, 0)
    ]
    assert world.run("plan", "--detailed-exitcode").code == 0


def test_a_worker_that_is_told_to_stop_gives_its_chunk_back(world):
    """SIGTERM: what is under way is finished, exit 130, and another worker does the rest."""
    world.rate = 5
    world.workspace()
    world.declare(*(f"v{n}: {{}}" for n in range(8)))
    enqueue(world)
    worker = world.start("worker")
    until(lambda: len(world.told("a")) >= 2)
    worker.signal(signal.SIGTERM)

    assert worker.wait() == 130
    assert "Interrupted: finishing what is in flight" in worker.err
    assert world.run("worker", "--status").last == "1 chunk to do, 0 workers."
    assert len(world.told("a")) < 8
    world.rate = 2000
    world.workspace()
    ended = drain(world)
    assert (ended.code, ended.last) == (
        0,
        "a, chunk 1: Apply complete: 8 created, 0 updated, 0 blocked, 0 unblocked, 0 forgotten.",
    )
    assert world.told("a") == [("create", f"v{n}") for n in range(8)]
    assert world.run("plan", "--detailed-exitcode").code == 0


def test_a_worker_that_is_told_to_stop_as_a_chunk_ends_begins_no_other(world, monkeypatch):
    """When all is done and not yet told, nothing is interrupted, and the worker ends."""
    monkeypatch.setattr(chunks, "LARGEST", 2)
    done = work.work

    def last(*about):
        yield from done(*about)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(work, "work", last)
    assert enqueue(world).code == 0
    assert (drain(world).code, waiting(world)) == (130, 1)


def test_the_deployment_s_own_words_work_until_they_are_told_to_stop(world):
    """Its pod is held back as the CronJob's is; its command waits, works, and ends at SIGTERM."""
    told, job = (
        yaml.safe_load((ROOT / "examples/ci/kubernetes" / name).read_text(encoding="utf-8"))
        for name in ("workers.yaml", "cronjob.yaml")
    )
    pod, other = (
        one["template"]["spec"] for one in (told["spec"], job["spec"]["jobTemplate"]["spec"])
    )
    (container,), (known,) = pod.pop("containers"), other.pop("containers")
    words = [one.replace("/workspace", str(world.root)) for one in container.pop("args")]
    worker = world.start(*words)
    until(lambda: "Waiting for chunks of many" in worker.err)
    enqueue(world)
    until(lambda: not waiting(world))
    worker.signal(signal.SIGTERM)

    assert (worker.wait(), world.told("a")) == (130, [("create", f"u{n}") for n in range(4)])
    assert world.run("worker", "--status", "--json").json["workers"] == []
    assert (told["apiVersion"], told["kind"], words[-1]) == ("apps/v1", "Deployment", "worker")
    assert container == {key: value for key, value in known.items() if key != "args"}
    assert pod.pop("terminationGracePeriodSeconds") >= 30
    assert pod == {key: value for key, value in other.items() if key != "restartPolicy"}


def test_a_worker_of_another_host_is_dead_when_it_is_silent(world, monkeypatch):
    """Its chunk is left to it while it is heard of, and is anybody's half a minute later."""
    hang = {"match": {"api": "create", "account_id": "u1"}, "fault": "hang", "seconds": 600}
    world.faults(hang)
    enqueue(world)
    worker = world.start("worker")
    until(lambda: any(call["fault"] == "hang" for call in world.calls("a")))
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("UPDATE reconciler_queue.reconciler_workers SET host = 'elsewhere'")
        worker.kill()
        monkeypatch.setattr(engine, "BEAT", 0.05)
        looked = threading.Event()
        bury = engine.Tables.burying
        monkeypatch.setattr(engine.Tables, "burying", lambda own: (looked.set(), bury(own))[1])
        connection.execute(
            "UPDATE reconciler_queue.reconciler_workers SET seen = clock_timestamp()"
        )

        def later():
            looked.wait(20)
            living.extend(world.ask("SELECT host FROM reconciler_workers WHERE host = 'elsewhere'"))
            connection.execute(
                "UPDATE reconciler_queue.reconciler_workers"
                " SET seen = clock_timestamp() - interval '31 s' WHERE host = 'elsewhere'"
            )

        living = []
        waits = threading.Thread(target=later)
        waits.start()
        ended = drain(world)
        waits.join()
    assert (ended.code, living) == (0, [("elsewhere",)])
    assert world.run("plan", "--detailed-exitcode").code == 0
    assert world.told("a") == [("create", f"u{n}") for n in range(4)]


def test_a_worker_outlives_its_connections(world):
    """One whose connections the server ended, as it does when it restarts, goes on."""
    assert world.run("worker", "--status").last == "0 chunks to do, 0 workers."
    assert drain(world).code == 0
    worker = world.start("worker")
    until(lambda: "Waiting for chunks of many" in worker.err)
    world.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert enqueue(world).code == 0
    until(lambda: not waiting(world))
    worker.signal(signal.SIGTERM)
    assert (worker.wait(), world.told("a")) == (130, [("create", f"u{n}") for n in range(4)])


def test_without_the_database_nothing_is_sent(world):
    """A worker that loses PostgreSQL in mid-chunk stops, exits 1, and tells no address."""
    world.rate = 40
    world.workspace()
    many = [f"v{n:03}" for n in range(120)]
    world.declare(*(f"{one}: {{}}" for one in many))
    enqueue(world)
    name = world.url.rpartition("=")[2]
    with psycopg.connect(world.url.replace(name, "postgres"), autocommit=True) as server:
        worker = world.start("worker", run="tests.cluster_world:impatient")
        until(lambda: len(world.told("a")) >= 3)
        server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        assert worker.wait() == 1
        sent = len(world.told("a"))
        server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
    world.rate = 2000
    world.workspace()
    after = drain(world)

    assert "the state cannot be used" in worker.err
    assert [text for text in ("Traceback", name, "dbos") if text in worker.err.lower()] == [name]
    assert sent < 100
    assert after.code == 0
    assert world.told("a") == [("create", one) for one in many]


def test_what_cannot_work_is_told_before_anything_is_done(world, tmp_path, monkeypatch):
    """Another backend is wrong usage, a missing package names the extra, a pull request is none."""
    with emulating() as endpoint:
        local = World(tmp_path / "local", endpoint)
        local.accounts("x: {}")
        for words in (
            ("apply", "--auto-approve", "--enqueue"),
            ("worker",),
            ("worker", "--status"),
        ):
            ended = local.run(*words)
            assert (ended.code, "needs a state in PostgreSQL" in ended.err) == (64, True)
        assert local.mutations() == []
    monkeypatch.setitem(sys.modules, "dbos", None)
    for words in (("apply", "--auto-approve", "--enqueue"), ("worker",)):
        ended = world.run(*words)
        assert (ended.code, ended.out) == (1, "")
        assert "pip install 'im-reconciler[cluster]'" in ended.err
    world.environ["GITHUB_EVENT_NAME"] = "pull_request"
    assert world.run("worker", "--drain").code == 1
    assert world.told("a") == []


def test_a_worker_without_the_credentials_leaves_the_chunk_to_others(world):
    """A secret that is missing, or another app's, is this worker's own mistake: nothing is lost."""
    enqueue(world)
    secret = world.environ.pop("APP_SECRET")
    missing = drain(world)
    world.environ["APP_SECRET"] = secret
    plain = (world.root / "reconciler.yaml").read_text()
    world.write("reconciler.yaml", plain.replace("  a: {", "  other: {"))
    renamed = drain(world)
    world.write("reconciler.yaml", plain)

    assert (missing.code, "APP_SECRET" in missing.err) == (1, True)
    assert (renamed.code, "has no provider a" in renamed.err) == (6, True)
    assert (waiting(world), world.told("a")) == (1, [])
    assert drain(world).code == 0


def test_a_worker_that_no_call_gets_through_from_leaves_the_chunk_to_others(world):
    """A wrong secret, or a vendor out of its reach: what is on the queue is not skipped."""
    assert world.run("apply", "--auto-approve").code == 0
    # An update is sent without a look at the account before.
    world.declare("u0: {profile: {name: New}}", *FOUR[1:], "u4: {}")
    enqueue(world)
    good = world.environ["APP_SECRET"], world.endpoint
    plain = (world.root / "reconciler.yaml").read_text()
    world.environ["APP_SECRET"] = "not-the-secret"
    refused = drain(world)
    world.environ["APP_SECRET"] = good[0]
    world.write("reconciler.yaml", plain.replace(world.apps["a"], "http://127.0.0.1:9"))
    unreached = drain(world)
    world.write("reconciler.yaml", plain)

    for ended, why in ((refused, "refuses the credentials"), (unreached, "cannot be reached")):
        said = f"no call to a gets through from here: the vendor {why}"
        assert (ended.code, said in ended.err) == (1, True), ended.err
    assert waiting(world) == 1
    last = drain(world)
    assert (last.code, "1 created, 1 updated" in last.last) == (0, True)
    assert world.run("plan", "--detailed-exitcode").code == 0


def test_what_somebody_wrote_into_the_queue_is_found(world):
    """A chunk that is empty, of another app or plan is damage, and a new apply replaces it."""
    assert enqueue(world).code == 0
    for change in ("body = NULL", "app = 'b'", "number = 7", "plan = 'sha256:00'"):
        with psycopg.connect(world.url, autocommit=True) as connection:
            connection.execute(f"UPDATE reconciler_queue.reconciler_chunks SET {change}")
        ended = drain(world)
        assert (ended.code, "is damaged: the chunk many/sha256:" in ended.err) == (1, True), change
        assert world.told("a") == []
        assert enqueue(world).last.startswith("Enqueued 1 app"), change
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO reconciler_queue.reconciler_paces VALUES ('many', 'a', '{\"x\": [1]}')"
        )
    assert drain(world).code == 0
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("UPDATE reconciler_queue.reconciler_chunks SET result = '[]'")
    assert "how a chunk ended is not told as it was written" in world.run("worker", "--status").err


def test_another_state_and_another_workspace_take_nothing(world, database):
    """A chunk of a state that is no more is not carried out; workspaces share a schema."""
    enqueue(world)
    world.workspace(name="others")
    world.declare("z: {}")
    assert enqueue(world).code == 0
    assert drain(world).last.startswith("a, chunk 1: Apply complete: 1 created")
    world.workspace()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP SCHEMA reconciler CASCADE")
    for mark in (world.root / ".reconciler").glob("postgres-*"):
        mark.unlink()
    world.declare("y: {}")
    assert world.run("apply", "--auto-approve", "--target", "a/y").code == 0

    ended = drain(world)

    assert (ended.code, "queued for another state" in ended.err) == (3, True)
    assert world.told("a") == [("create", "y"), ("create", "z")]
    assert waiting(world) == 0


KEYS = [base64.b64encode(sha256(n).digest()).decode() for n in (b"1", b"2")]


def test_what_waits_is_encrypted_as_the_state_is_and_not_erased_or_rewritten(world):
    """No profile is readable in the queue; erase and rekey wait for it; afterwards it is gone."""
    world.environ |= {"ONE": KEYS[0], "TWO": KEYS[1]}
    world.state = ", encryption: {key: env:ONE}"
    world.workspace()
    world.declare("u: {profile: {name: Zanzibar}}", "keep: {}")
    enqueue(world)
    ((body,),) = world.ask("SELECT body FROM reconciler_chunks")
    world.state = ", encryption: {key: env:TWO, previous: [env:ONE]}"
    world.workspace()
    refused = world.run("state", "rekey", "--auto-approve")
    ended = drain(world)
    world.declare("u: {profile: {name: Sansibar}}", "keep: {}")
    enqueue(world)
    erased = world.run("erase", "a/u", "--auto-approve")
    other = world.run("erase", "a/keep", "--auto-approve")
    drain(world)
    after = world.run("erase", "a/u", "--auto-approve")

    assert b"Zanzibar" not in bytes(body)
    assert (refused.code, "1 chunk waits for a worker" in refused.err) == (1, True)
    assert ended.code == 0
    assert (erased.code, "1 chunk with actions on a/u waits" in erased.err) == (1, True)
    assert (other.code, after.code) == (0, 0), after.err
    assert world.run("state", "rekey", "--auto-approve").code == 0
    assert world.ask("SELECT count(body) FROM reconciler_chunks") == [(0,)]


def test_a_pickle_in_the_database_is_not_run(world, tmp_path):
    """Whoever can write to the queue's tables cannot run code on the workers."""
    enqueue(world)
    mark = tmp_path / "pwned"

    class Evil:
        def __reduce__(self):
            return open, (str(mark), "w")

    evil = base64.b64encode(pickle.dumps(Evil())).decode()
    with psycopg.connect(world.url, autocommit=True) as connection:
        for table in ("workflow_status", "workflow_input"):
            connection.execute(f"UPDATE reconciler_queue.{table} SET inputs = %s", (evil,))
        connection.execute(
            "UPDATE reconciler_queue.workflow_status SET serialization = 'py_pickle'"
        )
    worker = world.start("worker")
    until(lambda: world.ask("SELECT 1 FROM workflow_status WHERE status = 'ERROR'"))
    worker.signal(signal.SIGTERM)
    worker.wait()
    assert (mark.exists(), world.told("a")) == (False, [])


def test_dbos_says_nothing_and_asks_nobody(world, caplog):
    """Its start, its page and its tracebacks are for --log-level debug only."""
    enqueue(world)
    ended = drain(world)
    assert "dbos" not in (ended.out + ended.err).lower()
    assert not [one for one in caplog.records if one.name.startswith("dbos")]
    assert logging.getLogger("dbos").handlers == []
