"""Laws: what holds after any history of edits, bans, console work, lost replies and crashes."""

from __future__ import annotations

import pytest
from core_accounts import NOW, account
from core_store import Crash
from core_world import MOMENTS, Inline, World, consoles, crashes, faults, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.events import Summary
from reconciler.planfile import shape
from reconciler.values import canonical

LAWS = settings(
    derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
RUNS = 3
"""Runs within which a history with faults must settle once the faults are over."""

rounds = st.lists(st.tuples(written, consoles, st.integers(0, 2)), min_size=1, max_size=3)


@pytest.fixture(autouse=True, scope="module")
def _in_place():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reconciler.applying.Pool", Inline)
        yield


def stubborn(world, plan):
    """Return the actions of a plan on accounts that are in no conflict."""
    return [
        (str(a.kind), a.address)
        for a in plan.actions
        if a.address.partition("/")[2] not in world.conflicts
    ]


def histories(rounds):
    """Yield the world at each moment before a plan is made, time never going back."""
    world, latest = World(), 0
    for files, console, moment in rounds:
        latest = max(latest, moment)
        world.console(console)
        world.refresh()
        world.write(files, MOMENTS[latest])
        yield world


class TestWithoutFaults:
    @given(rounds)
    @settings(LAWS, max_examples=60)
    def test_a_plan_after_an_apply_is_empty(self, rounds):
        """One apply does all of it, but for adopted accounts that were found banned: two do."""
        for world in histories(rounds):
            found_banned = {
                f"cn/{one.address[3:]}"
                for one in world.desired
                if one.adopt
                and world.store.record(one.address[3:]) is None
                and not world.vendor.accounts.get(one.address[3:], {"enabled": True})["enabled"]
            }
            world.run()
            left = stubborn(world, world.plan())
            assert {address for _, address in left} <= found_banned, left
            if left:
                world.run()
                assert stubborn(world, world.plan()) == []

    @given(rounds)
    @settings(LAWS, max_examples=60)
    def test_the_vendor_holds_what_is_written(self, rounds):
        """After the applies every written field of every account that need not wait is held."""
        for world in histories(rounds):
            before = world.frozen()
            world.run()
            world.run()
            assert world.wrong(before) == []

    @given(rounds)
    @settings(LAWS, max_examples=60)
    def test_what_nobody_manages_is_never_changed(self, rounds):
        """Fields that are neither written nor were, and strangers' accounts, stay as they are."""
        for world in histories(rounds):
            before = world.frozen()
            world.run()
            assert list(world.meddled(before)) == []

    @given(rounds)
    @settings(LAWS, max_examples=50)
    def test_the_same_inputs_give_the_same_plan(self, rounds):
        """Two plans differ in `created_at` alone, whatever order the accounts come in."""
        for world in histories(rounds):
            one = shape(world.plan(), "1.0")
            world.desired.reverse()
            two = shape(world.plan(now=NOW.replace(year=2028)), "1.0")
            assert one.pop("created_at") != two.pop("created_at")
            one.pop("digest")
            two.pop("digest")
            assert canonical(one) == canonical(two)
            world.run()

    @given(rounds)
    @settings(LAWS, max_examples=50)
    def test_an_empty_plan_changes_nothing(self, rounds):
        """Applying nothing sends nothing that mutates and leaves the serial alone."""
        for world in histories(rounds):
            world.run()
            world.run()
            plan = world.plan()
            if not plan.actions:
                sent, serial = len(world.vendor.mutations), world.store.serial
                assert world.shop.apply(plan) == [Summary({}, 0, 0, 0)]
                assert (len(world.vendor.mutations), world.store.serial) == (sent, serial)


def until_quiet(world, most):
    """Run again and again as people do after a failure; crashes end a run."""
    for _ in range(most):
        try:
            world.run()
        except Crash:
            world.restart()
        if not world.store.unresolved() and stubborn(world, world.plan()) == []:
            return
    raise AssertionError(f"not settled after {most} runs: {stubborn(world, world.plan())}")


class TestWithFaults:
    @given(st.lists(st.tuples(written, consoles, faults, crashes), min_size=2, max_size=3))
    @settings(LAWS, max_examples=100)
    def test_lost_replies_and_crashes_are_caught_up_with(self, rounds):
        """Once faults are over a few runs settle all of it; nothing is created or kicked twice."""
        world = World()
        for files, console, script, crashing in rounds:
            world.console(console)
            world.refresh()
            world.write(files)
            world.misbehave(script, crashing)
            for _ in range(1 + len(crashing) + sum(str(f).startswith("crash") for f in script)):
                try:
                    world.run()
                except Crash:
                    world.restart()
            world.behave()
            until_quiet(world, RUNS)
            assert world.wrong(world.frozen()) == []
            assert all(count == 1 for count in world.vendor.creates.values())
            assert all(count == 1 for count in world.kicked.values()), world.kicked

    @pytest.mark.parametrize("died", ["request", "reply", "write"])
    def test_a_crash_at_every_step_is_survived(self, died):
        """The n-th request, reply or write is the last one of a run, for every n there is."""
        files = [
            account("a", profile={"name": "A"}, ban={}),
            account("b", profile={"name": "B"}),
            account(
                "c",
                profile={"name": "C"},
                labels={"t": "x"},
                token={"from": "env:T1", "version": 1},
            ),
            account("d", adopt=True, ban={}),
        ]
        for number in range(1000):
            world = World()
            world.vendor.put("d")
            world.desired = [account("b", ban={}), account("c", profile={"name": "A"})]
            world.run()
            world.desired = files
            last = "crash" if died == "request" else "crash after"
            world.misbehave(
                [] if died == "write" else [None] * number + [last],
                [number] if died == "write" else [],
            )
            try:
                world.run()
            except Crash:
                world.restart()
            else:
                break
            world.behave()
            until_quiet(world, RUNS)
            assert world.wrong(world.frozen()) == []
            assert set(world.vendor.creates.values()) == {1}
            assert [len(world.vendor.accounts[id]["kicks"]) for id in "abcd"] == [1, 1, 0, 1]
        assert number > (3 if died == "write" else 8)
