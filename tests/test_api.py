"""The Python API: the same plan, apply and guards as the command line, for programs."""

from __future__ import annotations

import inspect
import io
import logging
import re
import signal
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

import reconciler
from reconciler import errors, events, load
from reconciler.changes import Block, Change, Reason
from reconciler.redaction import HIDDEN
from reconciler.session import Session
from tests.world import World

ROOT = Path(__file__).parents[1]
BOTS = "".join(f"bot{n}:\n  profile: {{name: Bot {n}}}\n" for n in range(6))
BANNED = BOTS.replace("}\n", "}\n  banned: {reason: spam}\n")
TOKEN = "first:\n  token: {from: env:IM_TOKEN_A, version: 1}\n"


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> World:
    """Six accounts that are declared and not applied."""
    world = World(tmp_path, endpoint)
    world.accounts(BOTS)
    return world


def applied(world: World, **how: object) -> events.Summary:
    """Plan and apply what the world declares."""
    with load(world.root, world.environ) as workspace:
        return reconciler.apply(workspace, reconciler.plan(workspace), **how)


def sent(world: World) -> list[str]:
    """Return the addresses of the mutating calls so far, and forget them."""
    calls = [str(call["path"]) for call in world.mutations()]
    world.control("requests", method="DELETE")
    return calls


def test_a_program_plans_and_applies_in_a_thread_and_prints_nothing(world: World) -> None:
    """Actions, events and summary are what the command line shows; then nothing is left to do."""
    heard: list[events.Event] = []
    ended: list[events.Summary] = []
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    logs = logging.getLogger().handlers[:]

    def work() -> None:
        with load(str(world.root), world.environ) as workspace:
            assert (workspace.name, workspace.root) == ("test-im", world.root)
            planned = reconciler.plan(workspace)
            assert [one.address for one in planned.actions] == [f"cn-prod/bot{n}" for n in range(6)]
            assert planned.to_json()["fingerprint"] == planned.fingerprint
            assert not planned.refused
            ended.append(reconciler.apply(workspace, planned, report=heard.append))

    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    assert ended[0].complete
    assert ended[0].applied == {"create": 6}
    assert [type(one) for one in heard].count(events.Completed) == 6
    assert (out.getvalue(), err.getvalue()) == ("", "")
    assert handlers == [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    assert logs == logging.getLogger().handlers
    assert world.run("plan", "--detailed-exitcode").code == 0
    assert world.run("state", "history").code == 0


def test_what_the_command_line_refuses_is_refused(world: World) -> None:
    """A limit, a rule, a pull request, a state that would be lost: nothing is sent by either."""
    assert applied(world).complete
    world.accounts(BANNED)
    sent(world)
    with load(world.root, world.environ) as workspace:
        over = reconciler.plan(workspace)
        allowed = reconciler.plan(workspace, allow={"block": 6})
        with pytest.raises(errors.Refused) as limit:
            reconciler.apply(workspace, over)

        assert over.refused
        told = world.run("plan", "--json").json["diagnostics"]
        assert over.to_json()["diagnostics"] == told != []
        assert not allowed.refused
        assert [one.severity for one in over.findings] == ["error"]
        assert "--allow block=6" in over.findings[0].hint
        assert limit.value.exit == 4
        assert limit.value.diagnostics == over.findings

    for more, kind in (
        ({"GITHUB_EVENT_NAME": "pull_request"}, errors.ConfigError),
        ({"CI_PIPELINE_SOURCE": "merge_request_event"}, errors.ConfigError),
        ({"CI": "true"}, errors.StateError),
    ):
        with load(world.root, {**world.environ, **more}) as workspace, pytest.raises(kind):
            reconciler.apply(workspace, allowed)

    world.workspace("rules: [{id: calm, when: {action: [block]}, deny: not today}]")
    with load(world.root, world.environ) as workspace:
        with pytest.raises(errors.Refused, match="not today"):
            reconciler.apply(workspace, allowed)
        assert sent(world) == []
        why = {"calm": "the customer asked for it"}
        planned = reconciler.plan(workspace, allow={"block": 6}, overrides=why)
        assert reconciler.apply(workspace, planned).applied == {"block": 6}


def test_a_plan_is_kept_as_bytes_and_either_side_applies_it(world: World) -> None:
    """Its bytes are a plan file; the command line's file is a plan; a stale one is exit 6."""
    file = world.root / "next.plan.json"
    assert world.run("plan", "--out", str(file), "--target", "cn-prod/bot0").code == 0
    with load(world.root, world.environ) as workspace:
        mine = reconciler.plan(workspace, ["cn-prod/bot1", "bot2"]).to_bytes()
        assert reconciler.apply(workspace, file.read_bytes()).applied == {"create": 1}
        with pytest.raises(errors.Stale, match="was changed by another run"):
            reconciler.apply(workspace, file.read_bytes())
        with pytest.raises(errors.Stale, match="not a usable plan file"):
            reconciler.apply(workspace, mine.replace(b"bot1", b"bot9"))
    file.write_bytes(mine)
    assert "2 created" in world.run("apply", str(file)).last


def test_a_plan_that_a_program_edited_is_refused(world: World) -> None:
    """Actions that were left out, added or changed are none that somebody has reviewed."""
    with load(world.root, world.environ) as workspace:
        planned = reconciler.plan(workspace)
        plan, (first, *rest) = planned.plan, planned.actions
        other = first._replace(document=first.document.replace(b"Bot 0", b"Bot 9"))
        block = Block(first.address, Reason.BAN_DECLARED, 0, (Change("banned", False, True),))
        for actions in (rest, (other, *rest), (first, block, *rest)):
            edited = replace(planned, plan=replace(plan, actions=tuple(actions)))
            with pytest.raises(errors.Stale, match="not as it was made"):
                reconciler.apply(workspace, edited)
            with pytest.raises(errors.Stale):
                reconciler.apply(workspace, edited.to_bytes())
    assert not sent(world)


def test_vendors_are_read_where_that_is_asked_for(world: World) -> None:
    """`refresh` finds what the vendor's console changed; without it no vendor is asked."""
    assert applied(world).complete
    world.console("bot1", profile={"name": "Bot of somebody else"})
    world.control("requests", method="DELETE")
    with load(world.root, world.environ) as workspace:
        assert reconciler.plan(workspace).actions == ()
        assert world.control("requests")["requests"] == []
        (found,) = reconciler.plan(workspace, refresh=True).actions
    assert (found.address, found.reason) == ("cn-prod/bot1", "drift")


def test_the_lock_is_one_also_between_threads(world: World) -> None:
    """While one thread applies, another hears who holds the lock; it may wait for it."""
    inside, go_on = threading.Event(), threading.Event()

    def hold(_: events.Event) -> None:
        inside.set()
        go_on.wait(30)

    first = threading.Thread(target=applied, args=(world,), kwargs={"report": hold})
    first.start()
    assert inside.wait(30)
    with load(world.root, world.environ) as workspace:
        planned = reconciler.plan(workspace, ["bot5"])
        with pytest.raises(errors.Locked) as held:
            reconciler.apply(workspace, planned)
        go_on.set()
        waited: list[events.Event] = []
        with pytest.raises(errors.Stale):  # by then the other one has made it
            reconciler.apply(workspace, planned, report=waited.append, lock_timeout=30)
    first.join()
    assert held.value.exit == 5
    assert not waited or isinstance(waited[0], events.Waiting)


def test_a_report_that_fails_stops_the_run_and_loses_nothing(world: World) -> None:
    """Its error is raised once what was in flight is recorded; the next run does the rest."""

    def fail(event: events.Event) -> None:
        if isinstance(event, events.Completed):
            raise ZeroDivisionError("mine")

    world.workspace()
    config = world.root / "reconciler.yaml"
    config.write_text(config.read_text().replace("rate: 2000", "rate: 2000\n    concurrency: 1"))
    with pytest.raises(ZeroDivisionError, match="mine"):
        applied(world, report=fail)
    done = len(sent(world))
    rest = applied(world)

    assert rest.complete
    assert done
    assert rest.applied.get("create", 0) == 6 - done


def test_a_wish_to_stop_skips_what_was_not_begun(world: World) -> None:
    """The summary says so, nothing is in doubt, and a vendor that asks for a pause holds no one."""
    world.faults({"match": {}, "fault": "status", "status": 429, "times": None})
    stop = threading.Event()

    def hear(event: events.Event) -> None:
        if isinstance(event, events.Throttled):
            stop.set()

    summary = applied(world, report=hear, stop=stop)

    assert summary.interrupted
    assert not summary.complete
    assert (summary.in_doubt, summary.failed, summary.skipped) == (0, 0, 6)


def test_no_secret_is_in_what_is_raised_or_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever holds a value that was resolved says `***` in its place, also in a defect."""
    secret = world.environ["APP_SECRET"]
    world.accounts(TOKEN)
    kept = Session.keep
    for problem in (
        errors.StateError.of("odd", f"it is {secret}", hint=secret),
        RuntimeError(f"it is {secret}"),
    ):

        def broken(session: Session, problem: Exception = problem) -> None:
            session.resolver.redactor.add(secret)
            try:
                raise ValueError(secret)
            except ValueError:
                raise problem  # noqa: B904

        monkeypatch.setattr(Session, "keep", broken)
        with pytest.raises(type(problem)) as raised:
            applied(world)
        texts = [repr(getattr(raised.value, "diagnostics", ""))]
        one: BaseException | None = raised.value
        while one is not None:
            texts.append(str(one))
            one = one.__context__
        assert HIDDEN in texts[1]
        assert secret not in "".join(texts)

    monkeypatch.setattr(Session, "keep", kept)
    heard: list[events.Event] = []
    monkeypatch.setattr("reconciler.applying._why", lambda *_: f"it is {secret}")
    world.seed("first")
    assert applied(world, report=heard.append).failed == 1
    (failed,) = [one for one in heard if isinstance(one, events.Errored)]
    assert failed.message == f"it is {HIDDEN}"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"targets": ["cn-prod/nobody"]}, "neither written nor recorded"),
        ({"allow": {"create": 3}}, "'create' has no limit"),
        ({"overrides": {"none": "the customer asked"}}, "there is no rule 'none'"),
        ({"as_of": datetime(2027, 1, 1)}, "no time zone"),  # noqa: DTZ001
    ],
)
def test_what_is_wrong_usage_is_said(world: World, how: dict[str, object], said: str) -> None:
    """As on the command line it is UsageError, exit 64."""
    with load(world.root, world.environ) as workspace, pytest.raises(errors.UsageError) as raised:
        reconciler.plan(workspace, **how)  # type: ignore[arg-type]
    assert raised.value.exit == 64
    assert said in str(raised.value)


def test_a_workspace_that_is_none_is_told_when_it_is_opened(world: World) -> None:
    """No folder, no reconciler.yaml, and findings of it with their places."""
    with pytest.raises(errors.UsageError):
        load(world.root / "nowhere")
    (world.root / "empty").mkdir()
    with pytest.raises(errors.ConfigError):
        load(world.root / "empty")
    world.write("reconciler.yaml", "version: 1\nworkspace: [x]\n")
    with pytest.raises(errors.ConfigError) as raised:
        load(world.root, world.environ)
    assert "reconciler.yaml:2:12" in [str(one.source) for one in raised.value.diagnostics]


def test_the_readme_s_program_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The section on embedding is short, and its program creates what is declared."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Embedding\n(.*?)^## ", readme, re.MULTILINE | re.DOTALL)
    assert section
    assert len(section[1].splitlines()) < 25
    (program,) = re.findall(r"^```python\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(world.root.parent)
    for name, value in world.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CI", raising=False)
    with redirect_stdout(io.StringIO()) as out:
        exec(compile(program.replace("my-im", world.root.name), "README.md", "exec"), {})
    assert "create cn-prod/bot0" in out.getvalue()
    assert world.run("plan", "--detailed-exitcode").code == 0


def test_every_promised_name_is_documented() -> None:
    """Each function and class says its units and errors, and each parameter is named there."""
    assert set(reconciler.__all__) <= set(dir(reconciler))
    with pytest.raises(AttributeError):
        _ = reconciler.nothing  # type: ignore[attr-defined]
    for name in reconciler.__all__:
        promised = getattr(reconciler, name)
        told = inspect.getdoc(promised) or ""
        assert told, name
        if inspect.isfunction(promised):
            for parameter in list(inspect.signature(promised).parameters)[1:]:
                assert f"`{parameter}`" in told, (name, parameter)
            assert "Raises `errors." in told, name


def test_names_are_functions_before_and_after_all_else_is_imported() -> None:
    """`plan` and `apply` are never modules that would hide them."""
    code = """
import importlib, pkgutil, sys
import reconciler
for round in range(2):
    from reconciler import apply, load, plan
    assert all(callable(one) for one in (apply, load, plan, reconciler.plan, reconciler.apply))
    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
assert "reconciler.cli.apply" in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
