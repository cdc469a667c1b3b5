"""A state machine of people and faults: hypothesis looks for the order in which a law breaks."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule
from simulator_process import NAME, installed
from simulator_schedule import Dice, settled
from simulator_store import Killed
from simulator_vendor import FLAGS, PUSH, VENDORS
from simulator_world import CRASHED, Violation, World

from reconciler.drift import drift
from reconciler.exits import Exit
from reconciler.planfile import decode, encode
from reconciler.refresh import read

chances = st.integers(0, 2**32)
moments = st.integers(0, 40)


class Told(World):
    """A world whose violations are failures that hypothesis can make smaller."""

    def spawn(self, work, way="short"):
        try:
            return super().spawn(work, way)
        except Violation as violation:
            if self.stack:
                raise
            raise AssertionError(str(violation)) from None


class People(RuleBasedStateMachine):
    """Edits, plans, applies, deaths, console work, drift, stolen locks and restored backups.

    Every run is audited by the world's own laws; the end is settled as every schedule is.
    """

    plans = Bundle("plans")
    backups = Bundle("backups")

    @initialize(kind=st.sampled_from(VENDORS), way=st.sampled_from(["short", "long"]))
    def begin(self, kind, way):
        self.patched = installed()
        self.patched.__enter__()
        self.world, self.way, self.unseen = Told(0, kind), way, ()
        self.dice = Dice(self.world)

    def _chance(self, number):
        self.world.rng = self.dice.world.rng = random.Random(number)

    @rule(chance=chances)
    def edit(self, chance):
        self._chance(chance)
        self.dice.write()

    @rule(chance=chances)
    def console(self, chance):
        self._chance(chance)
        self.dice.console()

    @rule(seconds=st.sampled_from([1.0, 70.0, 400.0, 90_000.0]))
    def wait(self, seconds):
        self.world.time.sleep(seconds)
        self.world.arrive()

    @rule(target=plans)
    def plan(self):
        return encode(self.world.plan()[0], "sim")

    @rule(plan=plans)
    def apply_a_saved_plan(self, plan):
        self.world.apply(way=self.way, saved=decode(plan, "plan.json"))

    @rule(allowed=st.booleans())
    def apply(self, allowed):
        assert self.world.apply(way=self.way, allowed=allowed) != CRASHED

    @rule(chance=chances)
    def apply_in_trouble(self, chance):
        self._chance(chance)
        self.dice.trouble()
        self.world.apply(way=self.way)
        self.dice.peace()

    @rule(at=moments)
    def apply_and_die(self, at):
        self._at(at, lambda: (_ for _ in ()).throw(Killed("here")))

    @rule(at=moments)
    def apply_and_lose_the_lock(self, at):
        """Somebody breaks the lock and lets another run through, while this one is under way."""
        world = self.world

        def steal():
            world.book.fence += 1
            world.book.holder = ""
            world.apply()

        self._at(at, steal)

    def _at(self, at, deed):
        """Apply, and let something happen at one of its moments, but inside no transaction."""
        world, seen = self.world, []

        def hook(name, request):
            if len(world.stack) > 1 or name.startswith("inside"):
                return
            seen.append(name)
            if len(seen) == at + 1:
                deed()

        world.hooks = [hook]
        world.apply(way=self.way)
        world.hooks = []

    @rule()
    def refresh(self):
        assert self.world.refresh(self.way) == Exit.DONE

    @rule()
    def drift(self):
        """Drift reads, and that is all it can do."""
        sent, serial = self.world.sent, self.world.book.serial

        def work(process):
            links = process.links([NAME], read_only=True)
            drift(read(list(process.store.everything()), links))
            return Exit.DONE

        assert self.world.spawn(work, self.way) == Exit.DONE
        assert (self.world.sent, self.world.book.serial) == (sent, serial)

    @rule(target=backups)
    def back_up(self):
        return self.world.book.copy()

    @rule(backup=backups)
    def restore(self, backup):
        """What was made since is unknown now; what cannot be read may be newer than recorded."""
        world = self.world
        fence = world.book.fence
        world.book = backup.copy()
        world.book.fence = fence
        world.released |= set(world.app.births)
        self.unseen = ("token", f"configuration.{PUSH}")
        if world.kind == "commsease":
            self.unseen += ("banned", *(f"configuration.{name}" for name in FLAGS))

    def teardown(self):
        if hasattr(self, "world"):
            try:
                settled(self.world, self.way, self.unseen)
            except Violation as violation:
                raise AssertionError(str(violation)) from None
            finally:
                self.patched.__exit__(None, None, None)


People.TestCase.settings = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    stateful_step_count=25,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestPeople = People.TestCase
TestPeople.__doc__ = """No order of what people do, and of what fails meanwhile, breaks a law."""
