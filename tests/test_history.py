"""History: who did what and why, told for a person and for programs; CI jobs and commits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from reconciler.changes import Override
from reconciler.config import schema_text
from reconciler.session.runner import commit, context, disposable
from reconciler.state import Entry, Record, Run, Status
from reconciler.views.history import Origin, origins, reasons, run_lines
from tests.world import World

SHA = "4f00d" * 8
TWO = "alice:\n  profile: {name: Alice}\nbob:\n  profile: {name: Bob, sign: hello}\n"
BANNED = TWO + "  banned: {reason: spam, ticket: TS-1042}\n"
JOBS = {
    "github": (
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "ann",
            "GITHUB_TRIGGERING_ACTOR": "bea",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "org/im",
            "GITHUB_RUN_ID": "7",
            "GITHUB_REF": "refs/pull/12/merge",
            "GITHUB_SHA": SHA,
        },
        ("bea", "https://github.com/org/im/actions/runs/7", "org/im", "refs/pull/12/merge", "12"),
    ),
    "gitlab": (
        {
            "GITLAB_CI": "true",
            "GITLAB_USER_LOGIN": "ann",
            "CI_JOB_URL": "https://gitlab.example/org/im/-/jobs/7",
            "CI_PROJECT_PATH": "org/im",
            "CI_COMMIT_REF_NAME": "main",
            "CI_COMMIT_SHA": SHA,
            "CI_MERGE_REQUEST_IID": "12",
        },
        ("ann", "https://gitlab.example/org/im/-/jobs/7", "org/im", "main", "12"),
    ),
    "jenkins": (
        {
            "JENKINS_URL": "https://ci.example/",
            "BUILD_USER_ID": "ann",
            "BUILD_URL": "https://ci.example/job/im/7/",
            "GIT_URL": "https://bot:hunter2@git.example/org/im.git",
            "GIT_BRANCH": "origin/main",
            "GIT_COMMIT": SHA,
            "CHANGE_ID": "12",
        },
        (
            "ann",
            "https://ci.example/job/im/7/",
            "https://git.example/org/im.git",
            "origin/main",
            "12",
        ),
    ),
    "buildkite": (
        {
            "BUILDKITE": "true",
            "BUILDKITE_BUILD_CREATOR": "ann",
            "BUILDKITE_BUILD_URL": "https://buildkite.com/org/im/builds/7",
            "BUILDKITE_REPO": "git@github.com:org/im.git",
            "BUILDKITE_BRANCH": "main",
            "BUILDKITE_COMMIT": SHA,
            "BUILDKITE_PULL_REQUEST": "false",
        },
        ("ann", "https://buildkite.com/org/im/builds/7", "git@github.com:org/im.git", "main", None),
    ),
    "circleci": (
        {
            "CIRCLECI": "true",
            "CIRCLE_USERNAME": "ann",
            "CIRCLE_BUILD_URL": "https://circleci.com/gh/org/im/7",
            "CIRCLE_REPOSITORY_URL": "https://github.com/org/im",
            "CIRCLE_BRANCH": "main",
            "CIRCLE_SHA1": SHA,
            "CIRCLE_PULL_REQUEST": "https://github.com/org/im/pull/12",
        },
        (
            "ann",
            "https://circleci.com/gh/org/im/7",
            "https://github.com/org/im",
            "main",
            "https://github.com/org/im/pull/12",
        ),
    ),
    "azure": (
        {
            "TF_BUILD": "True",
            "BUILD_REQUESTEDFOR": "Ann Lee",
            "SYSTEM_COLLECTIONURI": "https://dev.azure.com/org/",
            "SYSTEM_TEAMPROJECT": "im",
            "BUILD_BUILDID": "7",
            "BUILD_REPOSITORY_NAME": "im",
            "BUILD_SOURCEBRANCH": "refs/heads/main",
            "BUILD_SOURCEVERSION": SHA,
            "SYSTEM_PULLREQUEST_PULLREQUESTID": "12",
        },
        (
            "Ann Lee",
            "https://dev.azure.com/org/im/_build/results?buildId=7",
            "im",
            "refs/heads/main",
            "12",
        ),
    ),
    "bitbucket": (
        {
            "BITBUCKET_BUILD_NUMBER": "7",
            "BITBUCKET_STEP_TRIGGERER_UUID": "{ann}",
            "BITBUCKET_GIT_HTTP_ORIGIN": "https://bitbucket.org/org/im",
            "BITBUCKET_REPO_FULL_NAME": "org/im",
            "BITBUCKET_BRANCH": "main",
            "BITBUCKET_COMMIT": SHA,
            "BITBUCKET_PR_ID": "12",
        },
        ("{ann}", "https://bitbucket.org/org/im/pipelines/results/7", "org/im", "main", "12"),
    ),
}


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> World:
    """A workspace with two accounts that were applied by hand, one of which a CI job banned."""
    world = World(tmp_path, endpoint)
    world.accounts(TWO)
    assert world.run("apply", "--auto-approve").code == 0
    world.accounts(BANNED)
    plain = world.environ
    world.environ = plain | JOBS["gitlab"][0]
    assert world.run("apply", "--auto-approve").code == 0
    world.environ = plain
    return world


class TestHistory:
    def test_a_line_says_who_did_what_why_and_how_it_ended(self, world: World):
        """When, who, what, why, ticket, outcome and where to look are on one line each."""
        told = world.run("state", "history", "cn-prod/bob").out.splitlines()
        job, block = told[-2:]
        run = world.run("state", "history", "--json").lines[-1]["run"]
        assert block.startswith("  20")
        assert block.endswith(
            f'Z  ann  block cn-prod/bob: done (200 success)  why: "spam", ticket TS-1042  '
            f"see: accounts/team.yaml:4, run {run['id'][:8]}"
        )
        assert job == (
            f"    gitlab org/im main, commit {SHA}, change 12, "
            "https://gitlab.example/org/im/-/jobs/7"
        )
        assert told[-3] == (
            f"run {run['id']}: apply by ann, started {run['started_at']}, plan {run['fingerprint']}"
        )

    def test_a_run_is_told_once(self, world: World):
        """However many actions a run had, its details have one place."""
        told = world.run("state", "history").out
        assert told.count(": apply by ") == 2
        assert told.count("create cn-prod/") == 2

    def test_every_line_fits_the_schema(self, world: World):
        """The JSON of applied, removed and imported accounts is what the schema promises."""
        world.run("state", "rm", "cn-prod/alice", "--auto-approve")
        world.run("import", "cn-prod/alice")
        schema = json.loads(schema_text("history"))
        lines = world.run("state", "history", "--json").lines
        for line in lines:
            jsonschema.Draft202012Validator(schema).validate(line)
            # Later keys are allowed, but those of today are all described.
            assert line.keys() == schema["properties"].keys()
            assert line["run"].keys() == schema["$defs"]["run"]["properties"].keys()
        assert [line["kind"] for line in lines] == [
            "create",
            "create",
            "block",
            "state rm",
            "import",
        ]
        block = lines[2]
        assert (block["reason"], block["ban_reason"], block["ticket"], block["code"]) == (
            "ban_declared",
            "spam",
            "TS-1042",
            "200",
        )
        printed = world.run("schema", "history")
        assert json.loads(printed.out) == schema

    def test_filters(self, world: World):
        """By time and by kind; what is no time is wrong usage."""
        blocks = world.run("state", "history", "--action", "block", "--json").lines
        assert [line["address"] for line in blocks] == ["cn-prod/bob"]
        assert world.run("state", "history", "--since", "2999-01-01").out == ""
        assert len(world.run("state", "history", "--since", "2001-01-01", "--json").lines) == 3
        wrong = world.run("state", "history", "--since", "yesterday")
        assert wrong.code == 64
        assert "--since: 'yesterday'" in wrong.err
        assert world.run("state", "history", "--action", "delete").code == 64

    def test_a_refused_action_is_told_with_the_vendors_code(self, world: World):
        """What the vendor refused says so, with its code and words."""
        world.faults({"match": {"api": "disable"}, "fault": "code", "code": 403, "times": None})
        world.accounts(TWO)
        world.run("apply", "--auto-approve")
        last = world.run("state", "history").out.splitlines()[-1]
        assert "unblock cn-prod/bob: refused by the vendor (403 " in last
        assert 'why: "spam", ticket TS-1042' in last


class TestSetBy:
    def test_show_says_what_set_each_field(self, world: World):
        """The last change of each field has its time, run, operator and action."""
        world.accounts(BANNED.replace("Bob", "Bobby").replace("TS-1042", "TS-7"))
        world.run("state", "history")
        assert world.run("apply", "--auto-approve").code in (0, 3)
        shown = world.run("state", "show", "cn-prod/bob", "--json").json
        lines = {line["kind"]: line for line in world.run("state", "history", "--json").lines}
        set_by = shown["set_by"]
        assert set_by.keys() == {
            "banned",
            "banned.reason",
            "banned.ticket",
            "profile.name",
            "profile.sign",
        }
        for path, kind in (
            ("profile.sign", "create"),
            ("banned.reason", "block"),
            ("banned.ticket", "update"),
        ):
            run = lines[kind]["run"]
            assert set_by[path] == {
                "at": lines[kind]["at"],
                "run": run["id"],
                "operator": run["operator"],
                "action": kind,
            }
        text = world.run("state", "show", "cn-prod/bob").out
        assert f"by ann, block in run {set_by['banned']['run']})" in text

    def test_what_came_with_a_whole_record_is_that_commands(self, world: World, tmp_path: Path):
        """After a pushed snapshot every field is the push's, until it is changed again."""
        file = world.write("state.json", world.run("state", "pull").out)
        other = World(tmp_path / "other", world.endpoint)
        assert other.run("state", "push", str(file), "--auto-approve").code == 0
        set_by = other.run("state", "show", "cn-prod/bob", "--json").json["set_by"]
        assert {one["action"] for one in set_by.values()} == {"state push"}
        assert {"profile.name", "banned", "banned.ticket"} <= set_by.keys()

    def test_only_what_was_done_counts(self):
        """A refused change sets nothing, and a create begins anew."""
        run = Run("r", "apply", "t", "ann")

        def line(at, kind, path, status=Status.CONFIRMED):
            action = {"action": kind, "changes": [{"path": path, "before": None, "after": "x"}]}
            return Entry(at, run, "cn/a", action, status)

        record = Record("cn/a", {"profile": {"name": "x"}, "labels": {"team": "x"}}, False)
        found = origins(
            record,
            [
                line("1", "update", "labels.team"),
                line("2", "create", "profile.name"),
                line("3", "update", "profile.name", Status.REJECTED),
            ],
        )
        assert {path: one.at for path, one in found.items()} == {"banned": "2", "profile.name": "2"}

    def test_a_lifted_ban_keeps_its_why(self):
        """An unblock tells the ban that it lifted; without one, the plan's reason is told."""
        lifted = {"path": "banned.ticket", "before": "TS-1", "after": None}
        assert reasons({"action": "unblock", "changes": [lifted]}) == "ticket TS-1"
        assert reasons({"action": "block", "reason": "absent", "changes": []}) == "absent"


class TestRunner:
    @pytest.mark.parametrize("service", JOBS)
    def test_each_service_tells_its_job(self, service: str, tmp_path: Path):
        """Actor, page, repository, ref, commit and request come from the usual variables."""
        environ, (actor, url, repository, ref, change) = JOBS[service]
        wanted = {
            "ci": service,
            "actor": actor,
            "url": url,
            "repository": repository,
            "ref": ref,
            "commit": SHA,
            "change": change,
        }
        assert context(environ, tmp_path) == {k: v for k, v in wanted.items() if v}

    def test_no_service_tells_the_commit_that_is_checked_out(self, tmp_path: Path):
        """Without CI only the commit is known, and without git nothing is."""
        assert context({}, tmp_path) == {}
        git(tmp_path, "HEAD", f"{SHA}\n")
        assert context({"USER": "x"}, tmp_path) == {"commit": SHA}

    def test_a_fact_is_cut(self, tmp_path: Path):
        """No variable makes a line of history endless."""
        environ = JOBS["gitlab"][0] | {"CI_COMMIT_REF_NAME": "x" * 10_000}
        assert len(context(environ, tmp_path)["ref"]) == 500

    def test_refs_are_followed_as_files(self, tmp_path: Path):
        """A branch is read as a loose ref, from packed-refs, and in a worktree."""
        git(tmp_path, "HEAD", "ref: refs/heads/main\n")
        git(
            tmp_path,
            "packed-refs",
            f"# pack-refs\n{'0' * 40} refs/heads/other\n{SHA} refs/heads/main\n",
        )
        assert commit(tmp_path / "deep" / "er") == SHA
        newer = SHA[::-1].replace("d", "e")
        git(tmp_path, "refs/heads/main", f"{newer}\n")
        assert commit(tmp_path) == newer
        git(tmp_path, "worktrees/side/HEAD", "ref: refs/heads/main\n")
        git(tmp_path, "worktrees/side/commondir", "../..\n")
        side = tmp_path / "side"
        side.mkdir()
        (side / ".git").write_text(f"gitdir: {tmp_path}/.git/worktrees/side\n")
        assert commit(side) == newer

    @pytest.mark.parametrize(
        "head",
        [
            "",
            "ref: ../../secret",
            "ref: refs/heads/../../../secret",
            "ref: refs/heads/none",
            "hunter2",
            "ref: refs/heads/secret",
        ],
    )
    def test_only_a_hash_is_ever_taken(self, tmp_path: Path, head: str):
        """Whatever a checkout's files say, nothing else of them gets into history."""
        (tmp_path / "secret").write_text("hunter2")
        git(tmp_path, "HEAD", head)
        git(tmp_path, "refs/heads/secret", "hunter2")
        assert commit(tmp_path) == ""

    def test_a_link_is_not_followed(self, tmp_path: Path):
        """A HEAD that is a link, or not there, is no commit."""
        (tmp_path / "real").write_text(SHA)
        (tmp_path / ".git").mkdir()
        assert commit(tmp_path) == ""
        (tmp_path / ".git/HEAD").symlink_to(tmp_path / "real")
        assert commit(tmp_path) == ""

    @pytest.mark.parametrize(
        ("ci", "gone"),
        [("true", True), ("1", True), ("woodpecker", True), ("", False), ("false", False)],
    )
    def test_ci_says_that_a_machine_is_thrown_away(self, ci: str, gone: bool):
        """CI is set by every service; an empty or false one is none."""
        assert disposable({"CI": ci}) is gone
        assert not disposable({})


def git(root: Path, name: str, text: str) -> None:
    path = root / ".git" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_no_fact_of_a_job_can_forge_a_line():
    """Branch names and the like are people's texts: each stays on its line, visible."""
    evil = "main\n::error::x\x1b[2J\u202e"
    over = Override(evil, evil, evil, evil)
    facts = {"ref": evil, "odd": evil}
    run = Run("r-1", "apply", "2027-01-15T08:00:00Z", evil, context=facts, overrides=(over,))
    lines = [*run_lines(run), str(Origin("t", "r-1", evil, "block"))]
    assert len(lines) == 4
    for line in lines:
        assert line.isprintable()
        assert " ::" not in line


def test_a_run_without_a_job_says_nothing_of_one():
    """Only what is known is told."""
    run = Run("r-1", "refresh", "2027-01-15T08:00:00Z", "ann@host")
    assert list(run_lines(run)) == ["run r-1: refresh by ann@host, started 2027-01-15T08:00:00Z"]
    other = replace(run, context={"later": "fact"})
    assert list(run_lines(other))[1] == "    later fact"
