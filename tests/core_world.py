"""A small world of accounts for the laws: what is written, what the vendor holds, and the runs."""

from __future__ import annotations

import copy
from collections import Counter
from datetime import timedelta

from core_accounts import NOW, PAST, PUSH, SOON, account, planned
from core_store import Crash, Memory
from core_vendor import Shop, Vendor
from hypothesis import strategies as st

from reconciler.accounts import flatten, is_banned
from reconciler.refresh import accept, read
from reconciler.settle import settle

IDS = ("a", "b", "c", "d")
LATE = "2027-06-01T00:00:00Z"
MOMENTS = (NOW, NOW + timedelta(days=60), NOW + timedelta(days=400))

names = st.sampled_from(["A", "B", ""])
documents = st.fixed_dictionaries(
    {},
    optional={
        "profile": st.dictionaries(
            st.sampled_from(["name", "sign", "extension"]), names, min_size=1
        ),
        "configuration": st.dictionaries(
            st.sampled_from(["p2p_chat_banned", "team_chat_banned", PUSH]),
            st.booleans(),
            min_size=1,
        ),
        "labels": st.dictionaries(st.sampled_from(["t", "u.v"]), names, min_size=1),
        "ban": st.fixed_dictionaries(
            {},
            optional={
                "reason": names,
                "until": st.sampled_from([PAST, SOON, LATE]),
                "kick": st.just(False),
                "evidence": st.lists(names, max_size=2),
            },
        ),
        "token": st.integers(1, 3).map(lambda n: {"from": f"env:T{n}", "version": n}),
        "protected": st.booleans(),
        "on_absent": st.sampled_from(["forget", "block"]),
    },
)
accounts = st.fixed_dictionaries(
    {
        "document": documents,
        "adopt": st.sampled_from([False, False, True]),
        "once": st.sampled_from([(), (), ("profile",)]),
    }
)
written = st.fixed_dictionaries(
    dict.fromkeys(IDS, st.one_of(accounts, accounts, accounts, st.none()))
)
consoles = st.lists(
    st.tuples(
        st.sampled_from(IDS),
        st.sampled_from(["register", "ban", "unban", "rename", "flag", "login"]),
    ),
    max_size=3,
)
faults = st.lists(
    st.sampled_from(
        [
            None,
            None,
            "before",
            "before",
            "after",
            "after",
            "unsent",
            "broken",
            403,
            416,
            500,
            "crash",
            "crash after",
        ]
    ),
    min_size=4,
    max_size=14,
)
crashes = st.lists(st.integers(0, 14), max_size=2, unique=True)


class Inline:
    """A pool that works at once and in place, so that a history is the same every time."""

    def __init__(self, size, name):
        pass

    def submit(self, job):
        job()

    def close(self):
        """Nothing is ever under way."""


class World:
    """One vendor, one store, and what is written now."""

    def __init__(self):
        self.vendor, self.store = Vendor(), Memory()
        self.vendor.secrets |= {f"env:T{n}": f"token-{n}" for n in (1, 2, 3)}
        self.desired, self.as_of, self.kicked = [], NOW, Counter()
        self.vendor.watch = self._watch
        self.shop = Shop(self.store, self.vendor, concurrency=1)

    def write(self, files, as_of=NOW):
        """Replace what is written, and let time pass."""
        self.as_of = as_of
        self.desired = [
            account(id, adopt=one["adopt"], once=one["once"], **one["document"])
            for id, one in files.items()
            if one is not None
        ]

    def console(self, edits):
        """Do at the vendor what people do there."""
        for id, what in edits:
            held = self.vendor.accounts.get(id)
            if what == "register" and held is None:
                self.vendor.put(id, profile={"name": "theirs"})
            elif held is not None:
                match what:
                    case "ban" | "unban":
                        held["enabled"] = what == "unban"
                    case "rename":
                        held["profile"] |= {"name": "console", "email": "e@x"}
                    case "flag":
                        held["flags"] |= {"p2p_chat_banned": True, "qchat_chat_banned": True}
                    case "login":
                        held["login"] = True

    def refresh(self):
        accept(read(self.store.everything(), self.shop.links), self.store)

    def plan(self, **facts):
        return planned(self.desired, self.store, as_of=self.as_of, **facts)

    def run(self):
        """Do what one `apply` does: settle, plan, carry out. Returns its events."""
        events = list(settle(self.store, self.store, self.shop.links, "2027-01-15T08:00:00Z"))
        return events + self.shop.apply(self.plan())

    def restart(self):
        """Begin a new process on the same store and vendor."""
        count = self.shop.names.count
        self.shop = Shop(self.store, self.vendor, concurrency=1)
        self.shop.names.count = count

    def misbehave(self, script, crashing):
        """Let the next requests fail as written, and the process die at some writes."""
        left, writes = list(script), iter(range(10_000))

        def fault(request):
            match left.pop(0) if left else None:
                case "crash":
                    raise Crash("before a request")
                case "crash after":
                    body = {
                        key: self.vendor._clear(value)
                        for key, value in (request.body or {}).items()
                    }
                    self.vendor.perform(request, body)
                    raise Crash("after a request")
                case other:
                    return other

        def step(name):
            if next(writes) in crashing:
                raise Crash(name)

        self.vendor.fault, self.store.step = fault, step

    def behave(self):
        self.vendor.fault, self.store.step = lambda request: None, lambda name: None

    def _watch(self, request):
        if request.mutates:
            (id,) = request.account_ids
            mine = [i for i in self.store.unresolved() if i.address == f"cn/{id}"]
            assert mine, f"{request.api} of {id} was sent without an intent"
            if request.api == "disable" and request.body.get("need_kick"):
                block = [i.id for i in mine if i.action["action"] == "block"]
                assert block, f"{id} is kicked and nobody intends a block"
                self.kicked[block[-1]] += 1
                ban = self._by_id()[id].written()["ban"] if id in self._by_id() else {}
                assert ban.get("kick", True), f"{id} is kicked against what is written"

    @property
    def conflicts(self):
        """The ids that must fail: unrecorded ones that exist, or adopted ones that do not."""
        return {
            id
            for id, one in self._by_id().items()
            if self.store.record(id) is None and one.adopt != (id in self.vendor.accounts)
        }

    def _by_id(self):
        return {one.address.partition("/")[2]: one for one in self.desired}

    def frozen(self):
        """Return a copy of what vendor and records hold, to compare with later."""
        return copy.deepcopy(self.vendor.accounts), {
            id: one.document for id in IDS if (one := self.store.record(id))
        }

    def wrong(self, before=({}, {})):
        """Return what the vendor does not hold as it is written, of all that must not wait."""
        vendor, _ = before
        return [
            (id, *fact)
            for id, one in self._by_id().items()
            if id not in self.conflicts
            for fact in self._compare(self.vendor.accounts[id], one, id in vendor)
        ]

    def _compare(self, held, one, was_there):
        document = one.written()
        banned = is_banned(document, self.as_of)
        if held["enabled"] == banned:
            yield "banned", banned
        if not held["enabled"]:
            return
        for path, value in flatten(document).items():
            section, _, name = path.partition(".")
            place = {"profile": held["profile"], "configuration": held["flags"]}.get(section)
            if place is None or (section in one.once and was_there):
                continue
            if name == PUSH and (not held["login"] or value is place[name]):
                continue
            # Written after it had waited: the switch follows with the next change.
            if name == PUSH and path in self.store.record(_id(one)).waiting:
                continue
            if place[name] != value:
                yield path, value
        token = document.get("token")
        if token and held["token"] != f"token-{token['version']}":
            yield "token", token["version"]

    def meddled(self, before):
        """Return what changed at the vendor although nobody manages it."""
        vendor, recorded = before
        mine = self._by_id()
        for id, old in vendor.items():
            new = self.vendor.accounts[id]
            managed = {
                *flatten(recorded.get(id, {})),
                *(flatten(mine[id].written()) if id in mine else ()),
            }
            for section, key in (("profile", "profile"), ("configuration", "flags")):
                for name, value in old[key].items():
                    if f"{section}.{name}" not in managed and new[key][name] != value:
                        yield id, name, value, new[key][name]
            if id not in mine and id not in recorded and new != old:
                yield id, "a stranger was touched"


def _id(one):
    return one.address.partition("/")[2]
