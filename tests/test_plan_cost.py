"""The cost that a plan tells, against the calls that its apply makes to the emulated vendor."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.world import World

RATE = 50
READS = {
    "yunxin": {"batch_get", "profile_batch_get"},
    "commsease": {"get_uinfos"},
    "tencent": {"account_check", "portrait_get", "getnospeaking"},
}
NETEASE = "{app_key: env:APP_KEY, app_secret: env:APP_SECRET}"
APPS = {
    "yunxin": ("", NETEASE),
    "commsease": ("/nimserver", NETEASE),
    "tencent": ("", '{sdk_app_id: "1400000000", admin: administrator, secret_key: env:SECRET}'),
}
MARKED = "blocked_tag: Tag_Profile_Custom_Blocked"

FIRST = """
plain: {}
named: {profile: {name: A, avatar: https://cdn.example.com/a.png}}
styled: {profile: {name: A, sign: hi, gender: 0}, labels: {team: x}}
muted: {configuration: {p2p_chat_banned: true, team_chat_banned: false}}
open: {configuration: {p2p_chat_banned: false, team_chat_banned: false}}
bad: {profile: {sign: hi}, banned: true}
quiet: {banned: {kick: false}}
lapsed: {banned: {until: 2020-01-01T00:00:00Z}}
"""
SECOND = """
plain: {profile: {sign: hi, name: A}, configuration: {team_chat_banned: true}}
named: {profile: {name: B}}
styled: {profile: {name: A, sign: hi, gender: 0}, labels: {team: y}}
muted: {configuration: {p2p_chat_banned: false, team_chat_banned: true}, banned: {reason: spam}}
bad: {profile: {sign: bye}, configuration: {p2p_chat_banned: true}}
quiet: {banned: {kick: false, reason: spam}}
lapsed: {banned: {kick: false}}
new: {profile: {gender: 1}, configuration: {p2p_chat_banned: true}, banned: true}
theirs: {adopt: true, profile: {sign: ours}, configuration: {p2p_chat_banned: true}, banned: true}
"""
TOKENS = """
switched: {configuration: {push_enabled_when_desktop_online: false}}
keyed: {profile: {name: A}, token: {from: env:IM_TOKEN_A, version: 1}}
minted: {token: {generate: vendor, sink: "file:secrets/minted", version: 1}}
"""
LATER = """
switched: {profile: {name: A}, configuration: {push_enabled_when_desktop_online: false}}
keyed: {profile: {name: B}, token: {from: env:IM_TOKEN_A, version: 2}}
minted:
  configuration: {p2p_chat_banned: true}
  token: {generate: vendor, sink: "file:secrets/minted", version: 2}
"""


class Priced(World):
    """A workspace of one app, and the calls that its emulated vendor sees."""

    type = ""

    def workspace(self, more: str = "", name: str = "test-im") -> None:
        """Write reconciler.yaml once the vendor is chosen; `more` is of its provider."""
        if not self.type:
            return
        base, credentials = APPS[self.type]
        self.environ["SECRET"] = "demo-secret-key"
        self.write(
            "reconciler.yaml",
            f"version: 1\nworkspace: {name}\nproviders:\n  app:\n    type: {self.type}\n"
            f"    endpoint: {self.endpoint}{base}\n    credentials: {credentials}\n"
            f"    rate: {RATE}\n    {more}\n"
            "limits: {update: {percent: 100}}\n"
            'secrets: {allow: ["env:IM_TOKEN_*", "file:secrets/*"]}\n',
        )

    def pays(self, accounts: str) -> tuple[dict[str, float], Counter[str]]:
        """Plan and apply accounts; return the cost that was told, and the calls by API."""
        self.accounts(accounts)
        cost: dict[str, float] = self.run("plan", "--json").json["cost"]["app"]
        before = self.control("requests")["last"]
        ended = self.run("apply", "--auto-approve")
        assert ended.code == 0, ended
        calls = self.control(f"requests?since={before}")["requests"]
        return cost, Counter(call["api"] for call in calls if call["api"] not in READS[self.type])


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> Priced:
    """An empty folder and an unthrottled emulator."""
    return Priced(tmp_path, endpoint)


@pytest.mark.parametrize(
    ("type", "more"),
    [("yunxin", ""), ("commsease", ""), ("tencent", ""), ("tencent", MARKED)],
)
def test_the_cost_is_the_calls_that_are_made(world: Priced, type: str, more: str) -> None:
    """Of a plan with every kind of action, each mutating call is counted, and no other.

    The seconds follow from the API that is called most.
    """
    world.type = type
    world.workspace(more)
    app = "tencent/1400000000" if type == "tencent" else "yunxin/demo-app-key"
    world.control(f"accounts/{app}", {"accounts": [{"account_id": "theirs"}]}, "PUT")
    extra = type != "tencent"

    for accounts in (FIRST + TOKENS * extra, SECOND + LATER * extra):
        cost, made = world.pays(accounts)

        assert cost == {"calls": made.total(), "seconds": round(max(made.values()) / RATE, 2)}, made
    assert world.run("plan").last.startswith("No changes.")
