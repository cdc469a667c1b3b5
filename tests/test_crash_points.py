"""Crash points: a process dies at every moment of every kind of action, at every vendor."""

from __future__ import annotations

import pytest
from simulator_process import installed
from simulator_schedule import stubborn
from simulator_store import Killed
from simulator_vendor import VENDORS
from simulator_world import CRASHED, World

from reconciler.settle import LATE

POINTS = {
    "lock": "C1",
    "locked": "C2",
    "before begin": "C3",
    "before intend": "C4",
    "inside intend": "C5",
    "after intend": "C6",
    "send": "C6",
    "crash": "C7",
    "crash done": "C8-C9",
    "parsed": "C10",
    "inside settle": "C11",
    "after settle": "C12",
    "before unlock": "C13-C14",
    "after unlock": "C15",
}
"""The moments at which a run can die, by their names in the design; C16 and C17 are pairs."""

OLD = {"profile": {"name": "A", "sign": "S"}}
NEW = {"profile": {"name": "B", "sign": "T"}, "configuration": {"p2p_chat_banned": True}}
ACTIONS = {
    "create": (None, NEW),
    "create banned": (None, {**NEW, "ban": {"reason": "r"}}),
    "update": (OLD, NEW),
    "token": ({**OLD, "token": 1}, {**OLD, "token": 2}),
    "block": (OLD, {**OLD, "ban": {}}),
    "unblock": ({**OLD, "ban": {}}, NEW),
    "adopt": ("stranger", NEW),
    "adopt banned": ("stranger", {**NEW, "ban": {}}),
    "forget": (OLD, None),
}
CELLS = [
    (kind, action)
    for kind in VENDORS
    for action in ACTIONS
    if (kind, action) != ("tencent", "token")
]


@pytest.fixture(autouse=True, scope="module")
def _in_the_simulator():
    with installed():
        yield


def written(document):
    if document is None or "token" not in document:
        return document
    version = document["token"]
    return {**document, "token": {"from": f"env:T{version}", "version": version}}


def scene(kind, action):
    """Return a world whose next apply does one action on `a`, and creates `b`."""
    world = World(7, kind)
    before, after = ACTIONS[action]
    if before == "stranger":
        world.app.console("a", profile={"name": "theirs"})
        world.released.add("a")
    elif before is not None:
        world.files["a"] = written(before), False
        assert world.apply() == 0
    world.files.pop("a", None)
    world.files["b"] = OLD, False
    if after is not None:
        world.files["a"] = written(after), before == "stranger"
    return world


class Dying:
    """Kills the process at one moment of its run, counted from 0, and names the moments."""

    def __init__(self, world, at=None):
        self.at, self.names, self.world = at, [], world
        world.hooks = [self.step]
        world.meet = self.meet

    def step(self, name, request):
        if self._next(name):
            raise Killed(name)

    def meet(self, request):
        for fault in ("crash", "crash done"):
            if self._next(fault):
                return fault
        return None

    def _next(self, name):
        self.names.append(name)
        return len(self.names) - 1 == self.at

    def end(self):
        self.world.hooks = []
        del self.world.meet


def clean(world, way="short"):
    """Nobody repairs anything: two runs settle it all, and a third one has nothing to do."""
    for _ in range(2):
        world.apply(way=way)
        planned, *_ = world.plan()
        if not stubborn(world, planned) and not world.doubts():
            break
    else:
        world.broken("settles", f"left: {planned.actions} {world.doubts()}")
    if wrong := world.wrong():
        world.broken("holds", f"the vendor does not hold {wrong}")
    sent = world.sent
    assert world.apply(way=way) == 0
    if world.sent != sent:
        world.broken("quiet", f"{world.sent - sent} mutations are sent for nothing")


@pytest.mark.parametrize(("kind", "action"), CELLS)
def test_a_crash_at_every_moment_is_recovered_from(kind, action):
    """Whenever it dies, the next runs need no hand: all is done once, and nothing is lost."""
    survived, names = False, []
    for at in range(200):
        world = scene(kind, action)
        dying = Dying(world, at)
        code = world.apply(way="long")
        dying.end()
        clean(world, "long")
        if code != CRASHED:
            survived, names = True, dying.names
            break
    assert survived
    assert len(names) == at
    assert {POINTS[name] for name in names if name in POINTS} >= {"C1", "C2", "C4", "C5", "C6"}


@pytest.mark.parametrize(("kind", "action"), CELLS)
def test_the_yaml_goes_back_after_a_crash(kind, action):
    """Whatever the dead run had done by then is undone, though no refresh is asked for."""
    assert go_back(kind, action) > 10


def go_back(kind, action):
    """Let a run die at every moment, put the YAML back, and settle; return how many moments."""
    for at in range(200):
        world = scene(kind, action)
        dying = Dying(world, at)
        code = world.apply()
        dying.end()
        if code != CRASHED:
            return at
        before, _ = ACTIONS[action]
        world.files.pop("a", None)
        if before is not None:
            # What was forgotten comes back only by an import, or by being adopted.
            mine = {} if before == "stranger" else written(before)
            world.files["a"] = mine, before == "stranger" or action == "forget"
        world.time.sleep(LATE.total_seconds() + 1)
        clean(world)
    raise AssertionError("it never ends")


FIRST = ("after intend", "crash done", "inside settle")
"""First deaths that leave different things behind; all others leave what one of these does."""
SECOND = ("send", "inside settle", "after settle", "before begin", "after intend")
"""Moments of a recovery: it reads (C16), commits what it found (C17), and goes on."""


@pytest.mark.parametrize(("kind", "action"), CELLS)
def test_a_crash_in_the_recovery_from_a_crash_is_recovered_from(kind, action):
    """A second death, while the next run settles the doubts of the first, changes nothing."""
    pairs = 0
    for at in firsts(kind, action):
        for again in recovery(kind, action, at):
            world = died(kind, action, at)
            dying = Dying(world, again)
            assert world.apply() == CRASHED
            dying.end()
            clean(world)
            pairs += 1
    assert pairs > 4


def moments(kind, action):
    """Return the names of all moments of a run in which nobody dies."""
    world = scene(kind, action)
    whole = Dying(world)
    world.apply()
    whole.end()
    return whole.names


def firsts(kind, action):
    """Return the moments of a run whose death leaves something of its own behind."""
    return [n for n, name in enumerate(moments(kind, action)) if name in FIRST]


def died(kind, action, at):
    """Return a world whose run has died at a moment."""
    world = scene(kind, action)
    dying = Dying(world, at)
    assert world.apply() == CRASHED
    dying.end()
    return world


def recovery(kind, action, at):
    """Return the moments of the run after a death, until its own first intents are written."""
    world = died(kind, action, at)
    dying = Dying(world)
    world.apply()
    dying.end()
    names = dying.names
    end = names.index("after intend") + 1 if "after intend" in names else len(names)
    return [n for n, name in enumerate(names[:end]) if name in SECOND]
