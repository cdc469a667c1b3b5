"""Seeded bugs: every naive variant of what the product does is caught by a check named here."""

from __future__ import annotations

import logging
from contextlib import ExitStack

import pytest
import test_crash_points
import test_redaction
import test_settle
import test_transport_secrecy
import yaml
from config_files import Reading, reading
from mutants import (
    MUTANTS,
    at_once,
    certain,
    forgetful,
    proud,
    unchecked,
    unlimited,
)
from simulator_process import installed
from simulator_schedule import schedule
from simulator_store import LEASE
from simulator_vendor import VENDORS
from simulator_world import Violation, World
from store_conformance import holder
from store_conformance_apps import AppsConformance

from reconciler.errors import ConfigError, Locked
from reconciler.exits import Exit

pytest_plugins = ["store_sqlite"]

SEEDS = 300
"""Schedules within which a mutant must show; most need far fewer."""


@pytest.mark.parametrize("name", MUTANTS)
def test_the_simulator_catches(name):
    """A naive variant breaks one of the laws that it is known to break."""
    mutant = MUTANTS[name]
    with installed() as patch:
        mutant.put(patch)
        with pytest.raises(Violation) as caught:
            play(mutant)
    assert str(caught.value).partition(":")[0] in mutant.laws


def play(mutant):
    for seed in range(SEEDS):
        schedule(seed, way=mutant.way, kind=mutant.kind)


def over_the_limit():
    """Five bans at once are refused and nothing of it is sent."""
    world = World(1, "yunxin")
    for id in "abcde":
        world.files[id] = {}, False
    assert world.apply() == Exit.DONE
    for id in "abcde":
        world.files[id] = {"ban": {}}, False
    assert world.apply(allowed=False) == Exit.REFUSED


def zombie_retries():
    """A run that slept beyond its lease while a vendor asked for patience sends nothing more."""
    world = World(1, "commsease")
    world.files["a"] = {}, False
    assert world.apply() == Exit.DONE
    world.files["a"] = {"ban": {}}, False
    met = []

    def meet(request):
        if request.api != "block" or met:
            return None
        met.append(request)
        world.time.sleep(2 * LEASE)
        world.files["a"] = {}, False
        world.meet = lambda request: None
        assert world.apply() == Exit.DONE
        return "retry"

    world.meet = meet
    assert world.apply(way="long") == Exit.LOCKED
    if world.app.view("a")["banned"]:
        world.broken("holds", "a run without the lock bans an account")


def summary_without_the_lock():
    """Who has lost the lock does not say that all is done, though another run has done it."""
    world = World(1, "tencent")
    world.files["a"] = {"profile": {"name": "A"}}, False

    def meet(request):
        if request.api == "multiaccount_import":
            return "done"
        process = world.process
        if process.name == "p1" and world.doubts() and world.app.view("a"):
            process.seen = getattr(process, "seen", 0) + 1
            if process.seen == READS:
                world.meet = lambda request: None
                world.time.sleep(2 * LEASE)
                assert world.apply() == Exit.DONE
            return "lost"
        return None

    world.meet = meet
    assert world.apply() == Exit.LOCKED


READS = 2
"""Readings of a run that has lost a reply: one at once, and one at its end."""

SCENES = {
    "limits are skipped at apply": (unlimited, over_the_limit),
    "the lock is checked once per action": (unchecked, zombie_retries),
    "sum up without the lock": (proud, summary_without_the_lock),
    "what cannot be read is unchanged": (
        certain,
        lambda: test_crash_points.go_back("yunxin", "token"),
    ),
    "adopt and change at once": (
        at_once,
        lambda: test_crash_points.go_back("commsease", "adopt banned"),
    ),
    "an old create puts the record back": (
        forgetful,
        lambda: test_settle.TestFound().test_a_record_that_moved_on_is_not_put_back(),
    ),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_catches(name):
    """What chance rarely stages is staged; the product passes and its mutant does not."""
    put, check = SCENES[name]
    with installed():
        check()
    with installed() as patch:
        put(patch)
        with pytest.raises((Violation, AssertionError)):
            check()


class TestSecrets:
    def test_an_unpinned_logger_is_caught(self, caplog):
        """Were httpx left to log what it likes, the secrecy suite would say so."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("reconciler.transport.wire._Hush.attach", lambda self: None)
            with pytest.raises(AssertionError):
                test_transport_secrecy.test_httpx_writes_no_log(caplog)
        logging.getLogger("httpx").setLevel(logging.NOTSET)

    def test_a_redactor_that_is_off_is_caught(self):
        """Were texts let through as they are, the redactor suite would say so."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("reconciler.redaction.Redactor.redact", lambda self, text: text)
            with pytest.raises(AssertionError):
                test_redaction.test_overlapping_values_leave_no_tail()


LOCKS = {
    "the whole is locked over an app": (
        "reconciler.stores.lease.overlap",
        lambda one, other: one == other,
        lambda it, opens, clock, _: it.test_the_whole_and_an_app_exclude_each_other(opens(), opens),
    ),
    "every app is locked as the whole": (
        "reconciler.stores.lease.overlap",
        lambda one, other: True,
        lambda it, opens, clock, _: it.test_waiting_for_an_app(opens, clock),
    ),
    "a writer writes where it likes": (
        "reconciler.stores.table_writer.demand_within",
        lambda scope, apps: None,
        lambda it, opens, _, locking: it.test_a_writer_writes_only_its_apps(opens, locking),
    ),
}


@pytest.mark.parametrize("name", LOCKS)
def test_the_conformance_of_apps_catches(name, opens, clock, monkeypatch):
    """What every store of tables keeps of the locks of apps, a naive one does not."""
    place, mutant, check = LOCKS[name]
    with ExitStack() as held:

        def locking(*apps):
            return held.enter_context(opens().lock(holder(host="elsewhere"), apps=apps))

        monkeypatch.setattr(place, mutant)
        with pytest.raises((AssertionError, Locked, pytest.fail.Exception)):
            check(AppsConformance(), opens, clock, locking)


HOSTILE = (
    "# harmless\u2028accounts: {a: {}}\n",
    "accounts:\n  a: {}\n  a: {}\n",
    "accounts:\n  a: {}\n---\naccounts:\n  b: {}\n",
    "accounts: &x\n  a: {profile: {name: A}}\n  b: {<<: *x}\n",
)


def naive(root, content):
    """Read accounts as most tools do."""
    try:
        told = yaml.safe_load(content)
    except yaml.YAMLError as problem:
        return Reading([], [], ConfigError.of("syntax", str(problem)))
    return Reading(list(told.get("accounts", ())), [], None)


def strict(read, root):
    """Hidden lines, keys written twice, second documents and merges are refused."""
    for content in HOSTILE:
        assert read(root, content).errors, content


def test_a_naive_yaml_reader_is_caught(tmp_path):
    """Our reader refuses what a plain safe_load takes for configuration."""
    strict(reading, tmp_path)
    with pytest.raises(AssertionError):
        strict(naive, tmp_path)


def test_the_product_breaks_no_law():
    """The seeds that catch the mutants catch nothing in the product itself."""
    with installed():
        for seed in range(40):
            for kind in VENDORS:
                assert schedule(seed, kind=kind).counts["quiet runs"]
