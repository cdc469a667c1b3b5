"""The GitHub workflows, run step by step against the emulator and a fake `gh`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.forks import forking
from tests.github_runner import Hub, Run
from tests.world import World

MARK = "<!-- reconciler:plan:test-im -->"
HOSTILE = "$(touch pwned)`touch pwned`;touch pwned;'\"::error::pwned"
"""What a branch, a title or a nickname may be named by somebody who means harm."""
STATE = """\
state: {{backend: object, url: "file://{place}"}}
limits: {{block: {{count: 5, percent: 100}}}}
"""
BOTS = "bot-1: {profile: {name: One}}\nbot-2: {profile: {name: Two}}"
SECRETS = {
    "YUNXIN_APP_KEY": "demo-app-key",
    "YUNXIN_APP_SECRET": "demo-app-secret",
    "IM_TOKEN_SUPPORT": "a-login-token",
    "STATE_KEY_ID": "state-key-id",
    "STATE_KEY": "state-key",
}


@dataclass
class Story:
    """A repository with a workspace, its GitHub, and the vendor."""

    hub: Hub
    world: World
    place: Path

    def push(self, sha: str = "a" * 40, **more: Any) -> Run:
        """Run what a push to the default branch runs."""
        return self.hub.run("apply", "push", {}, sha=sha, **more)

    def by_hand(self, **inputs: str) -> Run:
        """Run the apply workflow by hand."""
        return self.hub.run("apply", "workflow_dispatch", {}, inputs=inputs)

    def night(self) -> Run:
        """Run the drift workflow."""
        return self.hub.run("drift", "schedule", {})

    def remark(self, number: int, body: str, by: str = "github-actions[bot]") -> None:
        """Write a comment."""
        held = self.hub.state
        held["comments"].append({"id": 1, "on": number, "user": {"login": by}, "body": body})
        self.hub.save(held)

    def comments(self) -> list[str]:
        """The bodies of all comments."""
        return [one["body"] for one in self.hub.state["comments"]]


@pytest.fixture
def story(tmp_path: Path, endpoint: str) -> Story:
    """Two bots that were applied, and a snapshot of them that was published."""
    world = World(tmp_path / "repo", endpoint)
    place = tmp_path / "state"
    world.workspace(STATE.format(place=place))
    file = world.root / "reconciler.yaml"
    names = {"env:APP_KEY": "env:YUNXIN_APP_KEY", "env:APP_SECRET": "env:YUNXIN_APP_SECRET"}
    for old, new in names.items():
        file.write_text(file.read_text().replace(old, new))
    world.environ |= SECRETS
    world.accounts(BOTS)
    assert world.run("apply", "--auto-approve").code == 0
    hub = Hub(tmp_path / "hub", world.root, SECRETS, forking().line)
    snapshot = tmp_path / "snapshot.json"
    snapshot.write_text(world.run("state", "pull", "--redact").out)
    hub.keep("reconciler-snapshot", snapshot, Run(0), fork=False, branch="main")
    return Story(hub, world, place)


def fingerprint(text: str) -> str:
    """Return the fingerprint in a comment or a log."""
    return re.findall(r"sha256:[0-9a-f]{64}", text)[0]


def test_a_fork_without_secrets_is_planned_and_told(story: Story) -> None:
    """A fork's run has no secret, no state and no vendor, and its plan is in one comment."""
    story.world.accounts(BOTS + "\nbot-3: {}")
    calls = len(story.world.control("requests")["requests"])
    hidden = story.place.rename(story.place.with_name("out-of-reach"))

    first = story.hub.asked(story.hub.open(7, "feature", "b" * 40))

    assert first.code == 0, first.log
    (comment,) = story.comments()
    assert comment.startswith(MARK)
    assert comment.endswith(
        "Plan: 1 to create, 0 to update, 0 to block, 0 to unblock, 0 to forget."
    )
    assert "Plan: 1 to create" in first.summary
    assert len(story.world.control("requests")["requests"]) == calls
    assert hidden.exists()
    assert not story.place.exists()


def test_a_newer_commit_replaces_the_comment(story: Story) -> None:
    """A newer plan stands in the same comment; without a plan the comment says that it has none."""
    story.world.accounts(BOTS + "\nbot-3: {}")
    pull = story.hub.open(7, "feature", "b" * 40)
    story.remark(7, f"{MARK}\nof an older commit")
    story.hub.asked(pull)
    assert "1 to create" in story.comments()[0]

    story.world.accounts("bot-1: {banned: maybe}")
    broken = story.hub.asked(pull)

    assert broken.code == 1
    assert any("file=accounts/team.yaml" in line for line in broken.commands)
    (comment,) = story.comments()
    assert comment.startswith(f"{MARK}\n**There is no plan of the newest commit.**")
    assert "sha256:" not in comment


def test_merge_applies_the_reviewed_plan(story: Story) -> None:
    """What was reviewed is applied after the merge and published, and no secret is left behind."""
    more = "\nbot-3: {profile: {name: Three}, token: {from: env:IM_TOKEN_SUPPORT, version: 1}}"
    story.world.accounts(BOTS + more)
    story.hub.asked(story.hub.open(7, "feature", "b" * 40))
    story.hub.merge(7, "c" * 40)

    ended = story.push("c" * 40)

    assert ended.code == 0, ended.log
    assert story.world.vendor("bot-3")["profile"]["name"] == "Three"
    assert "Apply complete: 1 created" in ended.summary
    snapshot = json.loads(story.hub.kept("reconciler-snapshot"))
    assert [one["address"] for one in snapshot["accounts"]][-1] == "cn-prod/bot-3"
    assert "Three" not in json.dumps(snapshot)
    left = [ended.log, ended.summary, *story.comments(), str(story.hub.calls()), str(snapshot)]
    for secret in ("demo-app-secret", "a-login-token", "state-key", "gh-token-of-the-job"):
        assert not [text for text in left if secret in text], secret

    again = story.push("d" * 40)
    assert (again.code, list(again.outputs)) == (0, ["plan"]), "nothing is left to apply"


def test_merge_refuses_what_was_not_reviewed(story: Story) -> None:
    """Another plan than the reviewed one is exit 6 and changes nothing; by hand it is named."""
    story.world.accounts(BOTS + "\nbot-3: {}")
    story.hub.asked(story.hub.open(7, "feature", "b" * 40))
    story.hub.merge(7, "c" * 40)
    story.world.accounts(BOTS + "\nbot-3: {}\nbot-4: {banned: true}")
    before = len(story.world.mutations())

    refused = story.push("c" * 40)

    assert refused.code == 6
    assert len(story.world.mutations()) == before
    assert [one for one in refused.commands if "not the plan that was reviewed" in one]

    assert story.by_hand(expect=fingerprint(refused.summary)).code == 0
    assert story.world.vendor("bot-4")["enabled"] is False


def test_a_push_without_a_pull_request_is_not_applied(story: Story) -> None:
    """Exit 6 without a review, with a comment that is not ours, or a request that is not merged."""
    story.world.accounts(BOTS + "\nbot-3: {}")
    assert story.push().code == 6

    story.hub.open(7, "feature", "b" * 40)
    story.hub.merge(7, "c" * 40)
    forged = story.world.run("plan", "--format", "markdown").out
    story.remark(7, forged, by="mallory")
    assert story.push("c" * 40).code == 6

    story.hub.open(8, "not-merged", "d" * 40)
    story.remark(8, forged)
    assert story.push("d" * 40).code == 6
    assert story.hub.calls("POST", "PATCH") == []


def test_the_state_may_not_move_between_approval_and_apply(story: Story) -> None:
    """`apply` makes the plan again: one that changed since it was approved is exit 6."""
    story.world.accounts(BOTS + "\nbot-3: {}\nbot-4: {}")
    expect = fingerprint(story.world.run("plan").out)
    words = ("apply", "--auto-approve", "--target", "cn-prod/bot-3")
    story.hub.before["apply"] = lambda: story.world.run(*words)

    ended = story.by_hand(expect=expect)

    assert ended.code == 6
    assert "the plan is not the expected one" in ended.log
    assert story.world.run("plan").last.startswith("Plan: 1 to create")


def test_a_limit_and_a_rule_are_shown_refused_and_gone_over_by_hand(story: Story) -> None:
    """Over a limit and a rule is exit 4 with a comment; by hand a number and a reason let it go."""
    file = story.world.root / "reconciler.yaml"
    text = file.read_text().replace("count: 5, percent: 100", "count: 0, percent: 0")
    file.write_text(text + "rules: [{id: shop, when: {action: [block]}, deny: ask the shop}]\n")
    names = [f"bot-{number}" for number in range(1, 5)]
    story.world.accounts("\n".join(f"{name}: {{adopt: true, banned: true}}" for name in names))
    story.world.seed("bot-3", "bot-4")

    ended = story.hub.asked(story.hub.open(7, "feature", "b" * 40))

    assert ended.code == 4
    assert [line for line in ended.commands if line.startswith("::error") and "block" in line]
    assert "The run failed" in story.comments()[0]
    expect = fingerprint(story.world.run("plan").out)
    assert story.by_hand(expect=expect, allow="block=4").code == 4
    done = story.by_hand(expect=expect, allow="block=4", override="shop=they asked $(id), TS-7")
    assert done.code == 0, done.log
    (over,) = story.world.run("state", "history", "--json").lines[-1]["run"]["overrides"]
    assert (over["rule"], over["reason"]) == ("shop", "they asked $(id), TS-7")
    assert f"for this plan alone, by {over['by']}: they asked $(id), TS-7" in done.summary


def test_hostile_names_are_text_everywhere(story: Story) -> None:
    """Branch, title and nickname reach no shell, and command no runner."""
    nickname = "::error::x%0A::set-output name=x::y $(touch pwned) @everyone"
    banned = "profile: {name: One}, banned: {reason: '<!-- ``` -->', ticket: '##[error]x'}"
    story.world.accounts(f"bot-1: {{{banned}}}\nbot-3: {{profile: {{name: '{nickname}'}}}}")
    pull = story.hub.open(7, HOSTILE, "b" * 40) | {"title": HOSTILE, "body": HOSTILE}

    ended = story.hub.asked(pull)

    assert ended.code == 0, ended.log
    assert all(one.startswith(("::notice ", "::stop-commands::")) for one in ended.heard)
    assert len(story.comments()) == 1
    assert "\n::" not in story.comments()[0]
    assert not list(story.hub.folder.rglob("pwned"))


def test_a_forged_plan_cannot_say_one_thing_and_be_another(story: Story) -> None:
    """The comment is made of the plan file, so an edited one is refused and the comment says so."""
    story.world.accounts(BOTS + "\nbot-3: {banned: true}")
    pull = story.hub.open(7, "feature", "b" * 40)
    story.hub.asked(pull)
    honest = story.comments()[0]
    plan = story.world.root.parent / "plan.json"
    story.world.run("plan", "--out", str(plan))
    plan.write_text(plan.read_text().replace("bot-3", "bot-9"))
    run = Run(99)
    story.hub.keep("reconciler-plan", plan, run, fork=True, branch="feature")
    told = {
        "id": 99,
        "event": "pull_request",
        "conclusion": "success",
        "head_branch": "feature",
        "head_sha": "b" * 40,
        "head_repository": {"id": 2, "owner": {"login": "mallory"}},
    }

    ended = story.hub.run("comment", "workflow_run", {"workflow_run": told})

    assert ended.code == 6
    assert "sha256:" in honest
    assert "cannot be read" in story.comments()[0]
    moved = {**told, "head_sha": "e" * 40}
    assert story.hub.run("comment", "workflow_run", {"workflow_run": moved}).code == 0


def test_a_forks_snapshot_is_not_taken_for_ours(story: Story) -> None:
    """An artifact that a fork named like ours, on a branch named like ours, is passed over."""
    story.world.accounts(BOTS)
    empty = story.world.root.parent / "snapshot.json"
    empty.write_text("{}")
    story.hub.keep("reconciler-snapshot", empty, Run(5), fork=True, branch="main")
    story.hub.keep("reconciler-snapshot", empty, Run(6), fork=False, branch="feature")

    ended = story.hub.asked(story.hub.open(7, "main", "b" * 40))

    assert ended.code == 0, ended.log
    assert "No changes." in ended.summary


def test_without_a_snapshot_a_pull_request_says_what_to_do(story: Story) -> None:
    """Nothing published yet is an error that names the drift workflow, which publishes one."""
    story.hub.save({**story.hub.state, "artifacts": []})

    ended = story.hub.asked(story.hub.open(7, "feature", "b" * 40))

    assert ended.code == 1
    assert "run its drift workflow once" in ended.commands[-1]
    assert story.night().code == 0
    assert json.loads(story.hub.kept("reconciler-snapshot"))["workspace"] == "test-im"
    assert story.hub.calls("POST", "PATCH") == [], "a night is silent when all is well"


def test_drift_keeps_one_issue(story: Story) -> None:
    """Drift opens one issue, keeps it while it lasts, and closes it when it is gone."""
    story.world.console("bot-1", profile={"name": "::error::pwned\n@everyone"})
    assert story.night().code == 0
    story.world.console("bot-2", profile={"name": "Zwei"})
    ended = story.night()
    assert ended.code == 0, ended.log
    (issue,) = story.hub.state["issues"]
    assert issue["title"] == "Drift in test-im"
    assert issue["body"].startswith("<!-- reconciler:drift:test-im -->")
    assert "\n::" not in issue["body"]
    assert "Zwei" in issue["body"]
    assert all(one.startswith("::stop-commands::") for one in ended.heard)

    story.world.console("bot-1", profile={"name": "One"})
    story.world.console("bot-2", profile={"name": "Two"})
    assert story.night().code == 0
    assert [one["state"] for one in story.hub.state["issues"]] == ["closed"]


def test_the_night_tells_what_is_merged_and_not_applied(story: Story) -> None:
    """Something that was merged and still waits, like a ban that has ended, has an issue too."""
    story.world.accounts(BOTS + "\nbot-3: {}")

    assert story.night().code == 0

    (issue,) = story.hub.state["issues"]
    assert issue["title"] == "Not applied in test-im"
    assert "1 to create" in issue["body"]


def test_a_changed_profile_is_whole_where_it_is_approved(story: Story) -> None:
    """What a redacted snapshot cannot show is in the summary of the merge, and applied as there."""
    story.world.accounts(BOTS.replace("One", "Uno"))
    story.hub.asked(story.hub.open(7, "feature", "b" * 40))
    assert "not compared" in story.comments()[0]
    story.hub.merge(7, "c" * 40)

    ended = story.push("c" * 40)

    assert ended.code == 0, ended.log
    assert '"One" -> "Uno"' in ended.summary
    assert story.world.vendor("bot-1")["profile"]["name"] == "Uno"
