"""Scene: every kind of action against one emulated vendor, in processes that may end anywhere.

What must hold however a run ended is in `Scene.violations` and `Scene.settled`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator.log import Entry, Log
from tests.forks import Child, Forks, forking
from tests.shared_emulator import emulating
from tests.world import World

TAG = "Tag_Profile_Custom_Blocked"
OLD, NEW = "first-login-token", "second-login-token"

RECORDED = """
blk:
  profile: {{name: Name-blk}}
tok:
  profile: {{name: Name-tok}}
{token1}unb:
  profile: {{name: Name-unb}}
  banned: {{reason: spam}}
upd:
  profile: {{name: Name-old, sign: hello}}
"""
DESIRED = """
ado:
  adopt: true
  banned: {{reason: spam}}
blk:
  profile: {{name: Name-blk}}
  banned: {{reason: spam{kick}}}
newban:
  profile: {{name: Name-newban}}
  banned: {{reason: spam}}
new:
  profile: {{name: Name-new, sign: hi}}
  configuration: {{p2p_chat_banned: true}}
{token1}tok:
  profile: {{name: Name-tok}}
{token2}unb:
  profile: {{name: Name-unb2}}
upd:
  profile: {{name: Name-new, sign: hello}}
  configuration: {{team_chat_banned: true}}
"""
BANNED, NEWCOMERS = ("ado", "blk", "newban"), ("new", "newban")


@dataclass(frozen=True)
class Speaks:
    """One vendor: how the workspace names it, where the emulator keeps it, what its APIs do."""

    type: str
    path: str
    credentials: str
    held: str
    token: bool
    apis: dict[str, tuple[str, ...]]
    more: str = ""


_APP = "{app_key: env:APP_KEY, app_secret: env:APP_SECRET}"
_SDK = '{sdk_app_id: "1400000000", admin: administrator, secret_key: env:SECRET_KEY}'
_ANY = ("create", "update", "block", "unblock")
VENDORS = {
    "yunxin": Speaks(
        "yunxin",
        "",
        _APP,
        "yunxin/demo-app-key",
        True,
        {
            "create": ("create",),
            "update": ("update", "create"),
            "profile_update": ("update", "create"),
            "disable": ("block", "unblock"),
        },
    ),
    "commsease": Speaks(
        "commsease",
        "/nimserver",
        _APP,
        "yunxin/demo-app-key",
        True,
        {
            "create": ("create",),
            "update_uinfo": ("update", "create"),
            "update_token": ("update",),
            "mute_module": ("update", "create"),
            "block": ("block",),
            "unblock": ("unblock",),
        },
    ),
    "tencent": Speaks(
        "tencent",
        "",
        _SDK,
        "tencent/1400000000",
        False,
        {
            "multiaccount_import": ("create",),
            "account_import": ("create",),
            "portrait_set": _ANY,
            "setnospeaking": _ANY,
            "kick": ("block",),
        },
        f"    blocked_tag: {TAG}\n",
    ),
}
READS = frozenset(
    [
        "batch_get",
        "profile_batch_get",
        "get_uinfos",
        "account_check",
        "portrait_get",
        "getnospeaking",
    ]
)
_KEPT = ("state.db", "state.db.high-water", "state.db-wal", "state.db-shm")
CREATES = frozenset(("create", "multiaccount_import", "account_import"))


@dataclass
class Scene(World):
    """A workspace whose next apply has one action of every kind to do."""

    speaks: Speaks = VENDORS["yunxin"]
    forks: Forks = field(default_factory=forking)
    broken: list[str] = field(default_factory=list)
    """Mutating requests that came without their intent being committed."""
    received_so_far: int = 0
    also: Callable[[Entry], None] | None = None
    """What else shall happen, on the vendor's side, when a request comes."""

    @property
    def state(self) -> Path:
        """Where the state is kept."""
        return self.root / ".reconciler" / "state.db"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.environ |= {"SECRET_KEY": "demo-secret-key", "IM_TOKEN_B": NEW}

    def workspace(self, more: str = "", name: str = "test-im", concurrency: int = 1) -> None:
        """Write reconciler.yaml; with one thread the n-th call is always the same one."""
        speaks = self.speaks
        self.write(
            "reconciler.yaml",
            f"version: 1\nworkspace: {name}\nproviders:\n  app:\n    type: {speaks.type}\n"
            f"    endpoint: {self.endpoint}{speaks.path}\n    credentials: {speaks.credentials}\n"
            f"    rate: 2000\n    concurrency: {concurrency}\n{speaks.more}"
            f'secrets: {{allow: ["env:IM_TOKEN_*"]}}\n{more}',
        )

    def declare(self, text: str) -> None:
        """Write the accounts, with tokens where the vendor stores them."""
        token = "  token: {{from: env:IM_TOKEN_{0}, version: {1}}}\n"
        tokens = {"token1": "", "token2": "", "kick": ""}
        if self.speaks.token:
            tokens = {
                "token1": token.format("A", 1),
                "token2": token.format("B", 2),
                "kick": ", notify: bye",
            }
        self.accounts(text.format(**tokens))

    def prepare(self) -> None:
        """Record what the actions are about, keep that state, and declare what is to come."""
        self.declare(RECORDED)
        done = self.run("apply", "--auto-approve")
        assert done.code == 0, done
        shutil.copytree(self.state.parent, self.root / "kept")
        self.kept = self.control(f"accounts/{self.speaks.held}")["accounts"]
        self.kept.append({"account_id": "ado", "profile": {}, "enabled": True})
        self.declare(DESIRED)
        self.reset()

    def reset(self) -> None:
        """Put state and vendor back to where they were before the actions."""
        shutil.rmtree(self.state.parent, ignore_errors=True)
        shutil.copytree(self.root / "kept", self.state.parent)
        seeds = []
        for one in self.kept:
            seed = {
                key: one[key]
                for key in ("account_id", "profile", "configuration", "extra", "enabled")
                if key in one
            }
            seeds.append(seed | ({"token": OLD} if one["account_id"] == "tok" else {}))
        self.control("faults", method="DELETE")
        for id in NEWCOMERS:
            self.drop(id)
        self.control(f"accounts/{self.speaks.held}", {"accounts": seeds}, "PUT")
        self.control("requests", method="DELETE")
        self.broken.clear()

    def drop(self, account_id: str) -> None:
        """Let an account vanish at the vendor, if it is there."""
        held = {one["account_id"] for one in self.everyone()}
        if account_id in held:
            self.control(f"accounts/{self.speaks.held}/{account_id}", method="DELETE")

    def everyone(self) -> list[dict[str, Any]]:
        """Return what the vendor holds."""
        held: list[dict[str, Any]] = self.control(f"accounts/{self.speaks.held}")["accounts"]
        return held

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests so far."""
        calls: list[dict[str, Any]] = self.control("requests")["requests"]
        return calls

    def start(self, *words: str, **how: Any) -> Child:
        """Start a command as a process of its own, at a server that a test may choose."""
        return self.forks.start(["--chdir", str(self.root), *words], self.environ, **how)

    def apply(self, *words: str, **how: Any) -> Child:
        """Start an apply."""
        return self.start("apply", "--auto-approve", *words, **how)

    # What must hold

    def received(self, entry: Entry) -> None:
        """Check, while the vendor has the request in hand, that its intent is on disk."""
        self.received_so_far += 1
        if self.also:
            self.also(entry)
        if entry.api in READS:
            return
        kinds = self.speaks.apis.get(entry.api)
        names = [text for text in _texts(json.loads(entry.body or b"{}")) if text[:5] == "Name-"]
        for id in entry.account_ids:
            intents = self._intents(f"app/{id}")
            fits = [
                one
                for one in intents
                if one["action"] in (kinds or ())
                and (len(entry.account_ids) > 1 or all(n in json.dumps(one) for n in names))
            ]
            if not fits:
                self.broken.append(f"{entry.api} of {id} came without an intent: {intents}")

    def _intents(self, address: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True)) as other:
            rows = other.execute(
                "SELECT action FROM journal WHERE address = ? AND status IN ('intent','ambiguous')",
                (address,),
            )
            return [json.loads(action) for (action,) in rows]

    def settled(self, most: int = 1) -> None:
        """Run again as people do, at most so often, and demand that everything is as declared."""
        for _ in range(most):
            ended = self.run("apply", "--auto-approve")
            if ended.code == 0:
                break
        assert ended.code == 0, ended.out + ended.err
        self.complete()

    def complete(self) -> None:
        """Demand that vendor and state are as declared, and that nothing is left to do."""
        last = self.control("requests")["last"]
        planned = self.run("plan", "--refresh")
        assert planned.last == "No changes. 7 accounts as recorded.", planned.out + planned.err
        assert [one for one in self.requests() if one["mutated"] and one["seq"] > last] == []
        assert self.violations() == []

    def violations(self) -> list[str]:
        """Return what does not hold of vendor, state and files after all is done."""
        return [*self.broken, *self._at_vendor(), *self._on_the_way(), *self._on_disk()]

    def _at_vendor(self) -> Iterator[str]:
        held = {one["account_id"]: one for one in self.everyone()}
        for id in ("ado", "blk", "new", "newban", "tok", "unb", "upd"):
            kicks = held[id]["kicks"]
            if kicks > self._kicks(id):
                yield f"{id} was kicked {kicks} times"
            if self.speaks.type != "tencent" and held[id]["enabled"] is (id in BANNED):
                yield f"{id} has enabled {held[id]['enabled']}"
        for id, token in (("new", OLD), ("tok", NEW)) if self.speaks.token else ():
            if held[id]["token_sha256"] != hashlib.sha256(token.encode()).hexdigest():
                yield f"{id} has another token"

    def _kicks(self, id: str) -> int:
        """Return how often an account may be kicked: once, as one call bans and kicks.

        At Tencent these are two: a run that ended between them cannot tell that it has kicked, so
        there it is once for each time that the ban was intended.
        """
        if id not in BANNED or self.speaks.type != "tencent":
            return int(id in BANNED)
        with closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True)) as other:
            rows = other.execute("SELECT action FROM journal WHERE address = ?", (f"app/{id}",))
            return sum(json.loads(action)["action"] == "block" for (action,) in rows)

    def _on_the_way(self) -> Iterator[str]:
        created: Counter[str] = Counter()
        bodies: dict[tuple[str, str], set[str]] = {}
        for call in self.requests():
            if not call["mutated"]:
                continue
            if call["api"] in CREATES:
                created.update(call["account_ids"])
            for id in call["account_ids"]:
                body = {k: v for k, v in (call["body"] or {}).items() if "kick" not in k.lower()}
                bodies.setdefault((call["api"], id), set()).add(json.dumps(body, sort_keys=True))
        # A lost import that runs late repeats the one that was sent after it: Tencent's upserts.
        late = self.speaks.type == "tencent" and any(c["fault"] == "late" for c in self.requests())
        for id, count in created.items():
            if count > 1 + late or id not in NEWCOMERS:
                yield f"{id} was created {count} times"
        for (api, id), told in bodies.items():
            # The marker and the profile of one account go the same way at Tencent.
            if len(told) > 1 and api not in ("portrait_set", *CREATES):
                yield f"{api} of {id} was sent with different values: {told}"

    def _on_disk(self) -> Iterator[str]:
        folder = self.state.parent
        backups = folder / "backups"
        for path in (*folder.iterdir(), *backups.glob("*")):
            if path == backups:
                continue
            backup = path.parent == backups and path.suffix == ".db"
            if not backup and path.name not in _KEPT:
                yield f"{path.name} was left behind"
            if stat.S_IMODE(path.stat().st_mode) != 0o600:
                yield f"{path.name} has mode {path.stat().st_mode:o}"
        with closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True)) as other:
            doubts = "SELECT count(*) FROM journal WHERE status IN ('intent', 'ambiguous')"
            if (count := other.execute(doubts).fetchone()[0]) != 0:
                yield f"{count} intents are in doubt"
            if other.execute("SELECT id FROM lock").fetchone() != ("",):
                yield "the lock is held"
            serials = [row[0] for row in other.execute("SELECT serial FROM serials ORDER BY rowid")]
            if serials != list(range(1, len(serials) + 1)):
                yield f"the serials are {serials}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


@contextmanager
def staged(vendor: str, root: Path, *, empty: bool = False) -> Iterator[Scene]:
    """Run an emulator that checks every mutating request on receipt, and a workspace at it.

    `empty` leaves out the accounts.
    """
    watchers: list[Callable[[Entry], None]] = []
    patch = pytest.MonkeyPatch()
    add = Log.add

    def added(self: Log, entry: Entry) -> None:
        for watch in watchers:
            watch(entry)
        add(self, entry)

    patch.setattr(Log, "add", added)
    try:
        with emulating() as endpoint:
            scene = Scene(root, endpoint, speaks=VENDORS[vendor])
            watchers.append(scene.received)
            if not empty:
                scene.prepare()
            yield scene
    finally:
        patch.undo()
