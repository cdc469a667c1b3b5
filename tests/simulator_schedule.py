"""Schedules: what people write, what consoles do, what fails and when, all from one seed."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator_process import NAME
from simulator_store import LEASE, Killed
from simulator_vendor import FLAGS, PUSH, VENDORS
from simulator_world import UNSEEN, World

from reconciler.errors import StateError
from reconciler.exits import Exit
from reconciler.planfile import decode, encode
from reconciler.settle import LATE
from reconciler.values import to_text

FAULTS = (
    "unsent",
    "lost",
    "done",
    "late",
    "500",
    "500 done",
    "429",
    "throttled",
    "retry",
    "refused",
    "garbled",
    "partial",
    "crash",
    "crash done",
)
SINK = "file:tokens/each"
QUIET = 3
"""Runs within which everything is settled once the faults are over."""


@dataclass(slots=True)
class Dice:
    """The choices of one schedule, made from its world's chance."""

    world: World
    ids: tuple[str, ...] = field(init=False)

    def __post_init__(self):
        self.ids = tuple("abcdef"[: self.world.rng.randint(3, 6)])

    def document(self):
        """Return what somebody writes of an account."""
        rng, kind = self.world.rng, self.world.kind
        written = {}
        names = ("name", "sign", "level" if kind == "tencent" else "extension")
        chosen = [name for name in names if rng.random() < 0.5]
        if chosen:
            written["profile"] = {name: self.value(name) for name in chosen}
        flags = FLAGS if kind == "tencent" else (*FLAGS, PUSH)
        chosen = [flag for flag in flags if rng.random() < 0.3]
        if chosen:
            written["configuration"] = {flag: rng.random() < 0.6 for flag in chosen}
        if rng.random() < 0.3:
            written["ban"] = self.ban()
        if kind != "tencent" and rng.random() < 0.5:
            version = rng.randint(1, 3)
            written["token"] = {"from": f"env:T{version}", "version": version}
            if rng.random() < 0.2:
                written["token"] = {"generate": "vendor", "sink": SINK, "version": version + 9}
        if rng.random() < 0.15:
            written["labels"] = {"t": rng.choice("xy")}
        if rng.random() < 0.15:
            written["on_absent"] = "block"
        return written

    def value(self, name):
        return self.world.rng.randint(0, 3) if name == "level" else self.world.rng.choice("ABC")

    def ban(self):
        rng = self.world.rng
        ban = {}
        if rng.random() < 0.3:
            ban["reason"] = rng.choice("rs")
        if rng.random() < 0.2:
            ban["kick"] = False
        if rng.random() < 0.2:
            until = self.world.time.now + rng.choice((30.0, 700.0, 90_000.0))
            from datetime import UTC, datetime

            ban["until"] = to_text(datetime.fromtimestamp(int(until), UTC))
        return ban

    def write(self, every=False):
        """Edit the YAML."""
        world, rng = self.world, self.world.rng
        for id in self.ids:
            if not every and rng.random() < 0.5:
                continue
            known = f"{NAME}/{id}" in world.book.rows
            if rng.random() < 0.15:
                world.files.pop(id, None)
                world.say("edit:", id, "leaves")
                continue
            view = world.app.view(id)
            adopt = not known and rng.random() < (0.9 if view else 0.05)
            if world.kind == "commsease" and view and view["banned"] and not known:
                continue  # version 1 never tells that it is banned
            if known and id in world.files:
                adopt = world.files[id][1]
            world.files[id] = self.document(), adopt
            world.say("edit:", id, world.files[id])

    def console(self):
        """Do at the vendor what people do there."""
        world, rng = self.world, self.world.rng
        for _ in range(rng.choice((0, 0, 1, 2))):
            id = rng.choice(self.ids)
            view = world.app.view(id)
            if view is None:
                # A stranger in the place of one that we made: nobody could tell from outside.
                known = f"{NAME}/{id}" in world.book.rows or id in world.app.dropped
                if not known and rng.random() < 0.5:
                    world.say("console: registers", id)
                    world.app.console(id, profile={"name": "theirs"})
                    world.released.add(id)
                continue
            what = rng.choice(("ban", "rename", "flag", "login", "drop"))
            world.say("console:", what, id)
            match what:
                case "ban" if world.kind != "commsease":  # where nobody could ever see it
                    world.app.ban(id, not view["banned"])
                case "rename":
                    world.app.console(id, profile={"name": "console", "avatar": "https://x"})
                case "flag":
                    if not (world.kind == "tencent" and view["banned"]):
                        world.app.console(id, configuration={"p2p_chat_banned": True})
                case "login":
                    world.app.console(id, logged_in=True)
                case "drop":
                    world.app.drop(id)
                    world.app.births.pop(id, None)

    def trouble(self):
        """Choose which faults there are and how often, and whether processes die or sleep."""
        world, rng = self.world, self.world.rng
        rates = (0.03, 0.1, 0.25)
        world.rates = {one: rng.choice(rates) / 2 for one in FAULTS if rng.random() < 0.25}
        world.hooks = []
        if rng.random() < 0.4:
            world.hooks.append(self.killer(rng.choice((0.02, 0.08))))
        if rng.random() < 0.2:
            world.hooks.append(self.full_disk(0.05))
        if rng.random() < 0.3:
            world.hooks.append(self.sleeper(0.03))

    def killer(self, rate):
        def kill(name, request):
            if self.world.rng.random() < rate:
                raise Killed(f"at {name}")

        return kill

    def full_disk(self, rate):
        def fail(name, request):
            writes = request is None and name.startswith("before ") and name != "before unlock"
            if writes and self.world.rng.random() < rate:
                self.world.counts["faults"] += 1
                raise StateError.of("state-full", "the disk is full")

        return fail

    def sleeper(self, rate):
        """Let a process sleep beyond its lease while another one runs."""

        def sleep(name, request):
            world = self.world
            if len(world.stack) > 1 or name.startswith(("inside", "after")):
                return
            if request and request.api in UNSEEN.get(world.kind, ()):
                return  # one call that is under way cannot be called back, and nothing tells of it
            if world.rng.random() < rate:
                world.say("sleeps beyond its lease")
                world.counts["sleeps"] += 1
                world.time.sleep(LEASE + world.rng.choice((1.0, 100.0)))
                world.arrive()
                world.apply()
                world.say("wakes up")

        return sleep

    def peace(self):
        self.world.rates, self.world.hooks = {}, []


def schedule(seed, trace=None, way=None, kind=None):
    """Play one schedule; raises Violation. Returns its world."""
    kind = kind or VENDORS[seed % 3]
    world = World(seed, kind, trace)
    dice, rng = Dice(world), world.rng
    way = way or ("long" if seed % 4 == 0 else "short")
    for turn in range(rng.choice((1, 1, 2, 2, 3))):
        dice.peace()
        dice.console()
        dice.write(every=turn == 0)
        saved = world.plan()[0] if rng.random() < 0.15 else None
        if saved is not None:
            saved = decode(encode(saved, "sim"), "plan.json")
            if rng.random() < 0.3:
                dice.write()
        dice.trouble()
        for _ in range(rng.choice((1, 1, 2))):
            world.time.sleep(rng.choice((1.0, 40.0, 400.0)))
            world.arrive()
            allowed = rng.random() < 0.9
            world.apply(way=way, allowed=allowed, saved=saved)
            saved = None
    dice.peace()
    settled(world, way)
    return world


def settled(world, way="short", unseen=()):
    """Without faults a few runs settle everything, and another one has nothing to do.

    `unseen` are paths that nothing tells of after a state was put back to an older one.
    """
    world.time.sleep(LATE.total_seconds() + 1)
    world.arrive(everything=True)
    world.say("-- no more faults")
    # What people did at the console, and what arrived late, is found by a refresh alone; but
    # that reads what is recorded, and a first run records what is in doubt.
    world.apply(way=way)
    if (code := world.refresh(way)) != Exit.DONE:
        world.broken("settles", f"refresh ends with {code}")
    for _ in range(QUIET):
        world.apply(way=way)
        world.counts["quiet runs"] += 1
        planned, *_ = world.plan()
        left = stubborn(world, planned)
        if not left and not world.doubts():
            break
    else:
        world.broken("settles", f"after {QUIET} runs are left: {left} {world.doubts()}")
    if wrong := [fact for fact in world.wrong() if fact[1] not in unseen]:
        world.broken("holds", f"the vendor does not hold {wrong}")
    sent = world.sent
    code = world.apply(way=way)
    if world.sent != sent:
        world.broken("quiet", f"{world.sent - sent} mutations are sent for nothing")
    # An empty desired set is refused whatever would follow from it.
    empty = Exit.DONE if world.files or not world.book.rows else Exit.REFUSED
    if code != (Exit.PARTIAL if planned.actions else empty):
        world.broken("exit", f"exit code {code} for {planned.actions}")


def stubborn(world, planned):
    """Return the actions of a plan on accounts that are in no conflict."""
    conflicts = world.conflicts()
    return [
        (str(one.kind), one.address)
        for one in planned.actions
        if one.address.partition("/")[2] not in conflicts
    ]
