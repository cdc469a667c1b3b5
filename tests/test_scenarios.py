"""The scenarios in `scenarios/`, each through the command line at all three emulated vendors.

A scenario is a story in `steps`. A step may say: `settings`, more lines of reconciler.yaml;
`elsewhere`, what others do at the vendor; `accounts`, the account file; `trouble`, what the vendor
answers instead; `as_of`; `refresh`; `drift`, what drift finds first; `plan`, every planned action,
its reason and changes; `waiting`, the fields that wait; `exits` of plan and apply; `failed`, the
accounts that apply names as failed; `calls`, how many requests changed something; `vendor`, what
the vendor holds in the end; `rests: false`, that the next plan has more to do; `differs`, what of
all that is otherwise at one vendor.
`unsupported` names, by vendor, the field that it does not have: there the files do not validate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from reconciler.emulator import tencent
from reconciler.emulator.tencent_fields import Refusal
from reconciler.transport import Transport
from tests.shared_emulator import impatient
from tests.test_provider_commsease_cli import Classic
from tests.test_provider_tencent_cli import TAG, Chat
from tests.world import World

SCENARIOS: Final = {path.stem: path for path in Path(__file__).parent.glob("scenarios/*.yaml")}
PUSH: Final = "push_enabled_when_desktop_online"
MUTES: Final = ("p2p_chat_banned", "team_chat_banned")
STEP: Final = frozenset(
    {
        *("settings", "elsewhere", "accounts", "trouble", "as_of", "refresh", "drift", "plan"),
        *("waiting", "exits", "failed", "calls", "vendor", "rests", "differs"),
    }
)
TOKENS: Final = {"IM_TOKEN_A": "first-login-token", "IM_TOKEN_B": "second-login-token"}


@dataclass(frozen=True)
class Vendor:
    """How one vendor is reached, and by which API and code it answers what a scenario says."""

    world: Callable[[Path, str], World]
    place: str
    apis: Mapping[str, str]
    codes: Mapping[str, int] = field(default_factory=lambda: {"refused": 414, "throttled": 416})
    emulates_ban: bool = False


VENDORS: Final = {
    "yunxin": Vendor(
        World,
        "accounts/yunxin/demo-app-key",
        {"create": "create", "profile": "profile_update", "block": "disable"},
    ),
    "commsease": Vendor(
        Classic,
        "accounts/yunxin/demo-app-key",
        {"create": "create", "profile": "update_uinfo", "block": "block"},
    ),
    "tencent": Vendor(
        Chat,
        "accounts/tencent/1400000000",
        {"create": "multiaccount_import", "profile": "portrait_set", "block": "kick"},
        {"refused": 40005, "throttled": 60007},
        emulates_ban=True,
    ),
}


class Stage:
    """One scenario at one vendor: a workspace, the vendor, and the words of the scenario."""

    def __init__(self, vendor: Vendor, world: World, patch: pytest.MonkeyPatch) -> None:
        self.vendor, self.world, self.patch = vendor, world, patch
        world.environ |= TOKENS

    def elsewhere(self, edits: Mapping[str, Any]) -> None:
        """Do at the vendor what others do there: register accounts, and change them."""
        for account_id, said in edits.items():
            place = f"{self.vendor.place}/{account_id}"
            if said == "vanishes":
                self.world.control(place, method="DELETE")
                continue
            edit = {key: said[key] for key in ("profile", "logged_in") if key in said}
            edit |= {"configuration": dict(said["flags"])} if "flags" in said else {}
            if "banned" in said and self.vendor.emulates_ban:
                edit["configuration"] = dict.fromkeys(MUTES, said["banned"])
                edit["extra"] = {TAG: "1" if said["banned"] else ""}
            elif "banned" in said:
                edit["enabled"] = not said["banned"]
            known = account_id in self.registered()
            self.world.control(place, edit, "PATCH" if known else "PUT")

    def registered(self) -> dict[str, Any]:
        """Return every account of the app, as the emulator shows them."""
        held = self.world.control(self.vendor.place)["accounts"]
        return {account["account_id"]: account for account in held}

    def held(self) -> dict[str, dict[str, Any]]:
        """Return every account of the app in the words of a scenario; what is unset is left out.

        The mutes of an emulated ban are the ban's.
        """
        found = {}
        for account_id, shown in self.registered().items():
            flags = dict(shown["configuration"])
            banned = not shown["enabled"]
            if self.vendor.emulates_ban and shown["extra"].get(TAG) == "1":
                banned = all(flags.pop(flag) for flag in MUTES)
            profile = {key: value for key, value in shown["profile"].items() if value}
            if isinstance(day := profile.get("birthday"), int):
                profile["birthday"] = f"{day // 10000}-{day // 100 % 100:02}-{day % 100:02}"
            found[account_id] = {
                "profile": profile,
                "flags": {name: on for name, on in flags.items() if on is (name != PUSH)},
                "banned": banned,
                "kicks": shown["kicks"],
                "told": shown["last_kick"],
                "token": shown["token_sha256"],
            }
        return found

    @contextmanager
    def trouble(self, faults: list[Mapping[str, str]]) -> Iterator[None]:
        """Have the vendor answer as a step says; at Tencent a batch names whom it refused."""
        refused = []
        for fault in faults:
            if (fault["call"], fault["answers"]) == ("create", "refused") and "account" in fault:
                refused.append(fault["account"])
                if self.vendor.emulates_ban:
                    continue
            match = {"api": self.vendor.apis[fault["call"]]}
            match |= {"account_id": fault["account"]} if "account" in fault else {}
            code = self.vendor.codes[fault["answers"]]
            self.world.faults({"match": match, "fault": "code", "code": code})
        with self.patch.context() as patch:
            put = tencent._Api._put

            def picky(api: Any, row: Any, given: object) -> None:
                if given in refused:
                    raise Refusal(70402, "not this one")
                put(api, row, given)

            patch.setattr(tencent._Api, "_put", picky)
            patch.setattr("reconciler.transport.Transport", partial(Transport, clock=impatient()))
            yield

    def play(self, step: Mapping[str, Any]) -> None:
        """Play one step to its end, and where it ended whole, show that nothing is left."""
        assert not step.keys() - STEP
        world, exits = self.world, step.get("exits", {"plan": 2, "apply": 0})
        if "settings" in step:
            marked = f"    blocked_tag: {TAG}\n" if self.vendor.emulates_ban else ""
            world.workspace(more=marked + step["settings"])
        self.elsewhere(step.get("elsewhere", {}))
        if "accounts" in step:
            world.accounts(step["accounts"])
        if "drift" in step:
            assert self.drift() == step["drift"]
        when = ("--as-of", step["as_of"]) if "as_of" in step else ()
        how = (*when, "--refresh") if step.get("refresh") else when
        file = str(world.root / "next.plan.json")

        planned = world.run("plan", *how, "--detailed-exitcode", "--out", file, "--json")
        before = len(world.mutations())
        with self.trouble(step.get("trouble", [])):
            applied = world.run("apply", file, "--json")

        assert (planned.code, applied.code) == (exits["plan"], exits["apply"]), applied.err
        assert [action(one) for one in planned.json["actions"]] == step["plan"]
        assert waiting(planned.json) == step.get("waiting", [])
        assert failed(applied.lines) == step.get("failed", [])
        if "calls" in step:
            assert len(world.mutations()) - before == step["calls"]
        self.holds(step.get("vendor", {}))
        if applied.code == 0 and step.get("rests", True):
            self.rests(when)

    def holds(self, wanted: Mapping[str, Any]) -> None:
        """Check what a step says of the vendor; fields that it leaves out are not looked at."""
        held = self.held()
        for account_id, said in wanted.items():
            if said == "unknown":
                assert account_id not in held
                continue
            said = dict(said)
            if "token" in said:
                said["token"] = hashlib.sha256(TOKENS[said["token"]].encode()).hexdigest()
            assert {key: held[account_id][key] for key in said} == said, account_id

    def rests(self, when: tuple[str, ...]) -> None:
        """Check that by record and by vendor nothing is left to do, and that nothing is done."""
        world = self.world
        before = len(world.mutations())
        planned = world.run("plan", *when, "--json", "--detailed-exitcode")
        assert (planned.code, planned.json["actions"]) == (0, []), planned.out
        for words in (("plan", "--refresh"), ("apply", "--auto-approve")):
            ended = world.run(*words, *when)
            assert (ended.code, ended.last[:11]) == (0, "No changes."), (words, ended.out)
        assert self.drift() == {}
        assert (len(world.mutations()), world.serial()) == (before, planned.json["serial"])

    def drift(self) -> dict[str, Any]:
        """Return what drift finds: per account the fields, recorded and observed."""
        ended = self.world.run("drift", "--json")
        found = {
            one["address"].partition("/")[2]: "missing"
            if one["kind"] == "missing"
            else {
                change["path"]: [change["recorded"], change["observed"]]
                for change in one["changes"]
            }
            for one in ended.json["drift"]
        }
        assert ended.code == (2 if found else 0), ended.err
        return found


def action(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a planned action in the words of a scenario."""
    changes = {change["path"]: [change["before"], change["after"]] for change in one["changes"]}
    told = {one["action"]: one["account_id"], "because": one["reason"]}
    return told | ({"changes": changes} if changes else {})


def waiting(plan: Mapping[str, Any]) -> list[str]:
    """Return what a plan says to wait, as `account: path`."""
    told = [one["summary"] for one in plan["diagnostics"] if one["kind"] == "waiting"]
    return [text.partition("/")[2].removesuffix(" waits") for text in told]


def failed(events: list[Mapping[str, Any]]) -> list[str]:
    """Return the accounts that an apply says it failed for."""
    wrong = ("apply_errored", "apply_skipped")
    return sorted({e["address"].partition("/")[2] for e in events if e["type"] in wrong})


def told(step: Mapping[str, Any], vendor: str) -> dict[str, Any]:
    """Return a step as it is at one vendor."""
    return {**step, **step.get("differs", {}).get(vendor, {})}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_scenario(
    name: str, vendor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """A scenario is planned, applied and held as it says, and then nothing is left to do."""
    scenario = yaml.safe_load(SCENARIOS[name].read_text(encoding="utf-8"))
    assert scenario.keys() <= {"about", "unsupported", "steps"}
    speaks = VENDORS[vendor]
    stage = Stage(speaks, speaks.world(tmp_path, endpoint), monkeypatch)
    if lacking := scenario.get("unsupported", {}).get(vendor):
        stage.world.accounts(scenario["steps"][0]["accounts"])
        refused = stage.world.run("validate", "--json")
        assert refused.code == stage.world.run("plan").code == 1
        assert lacking in str(refused.json["diagnostics"])
        assert stage.registered() == {}
        return
    for step in scenario["steps"]:
        stage.play(told(step, vendor))


def test_there_are_scenarios() -> None:
    """The folder is found, and every file says what it shows and plays at one vendor at least."""
    assert len(SCENARIOS) >= 20
    for path in SCENARIOS.values():
        scenario = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert scenario["about"].endswith(".\n") or scenario["about"].endswith(".")
        assert len(scenario.get("unsupported", {})) < len(VENDORS)
