"""What CI services read: counts, annotations, SARIF and JUnit; the options of every format."""

from __future__ import annotations

import hashlib
import io
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from bad_inputs import HARMFUL
from core_accounts import account, planned, record
from core_store import Memory
from golden_plans import ATTACKS, big, drifted, empty, hostile, small

from reconciler.cli import formats
from reconciler.cli.console import Console
from reconciler.diagnostics import Source, error, info, warning
from reconciler.drift import drift
from reconciler.guard import Judgement
from reconciler.views import github, gitlab, junit, notices, sarif
from tests.shared_emulator import emulating
from tests.world import Result, World

FORMATS = ("text", "json", "markdown", "html", "gitlab", "github", "sarif", "junit")
FINDINGS = ("text", "json", "github", "sarif", "junit")


def command(line):
    """Return a workflow command as GitHub's runner reads it: name, properties and message."""
    found = re.fullmatch(r"::(\w+)(?: (.*?))?::(.*)", line)
    properties = dict(part.split("=", 1) for part in (found[2] or "").split(","))
    return found[1], {name: unquote(held) for name, held in properties.items()}, unquote(found[3])


def well_formed(log):
    """Assert what SARIF 2.1.0 and code scanning want of a log, as far as we use the format."""
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert set(run) == {"tool", "invocations", "columnKind", "results"}
    driver = run["tool"]["driver"]
    rules = [rule["id"] for rule in driver["rules"]]
    assert len(rules) == len(set(rules))
    assert all(rule["shortDescription"]["text"] for rule in driver["rules"])
    assert len(run["results"]) <= 5000
    for one in run["results"]:
        assert rules[one["ruleIndex"]] == one["ruleId"]
        assert one["level"] in ("error", "warning", "note")
        assert one["message"]["text"]
        assert re.fullmatch("[0-9a-f]{64}", one["partialFingerprints"]["reconcilerFinding/v1"])
        (place,) = one["locations"]
        uri = urlsplit(place["physicalLocation"]["artifactLocation"]["uri"])
        assert (uri.scheme, uri.netloc, uri.query, uri.fragment) == ("", "", "", "")
        assert uri.path
        region = place["physicalLocation"].get("region", {"startLine": 1})
        assert region["startLine"] >= 1
        assert region.get("startColumn", 1) >= 1


class TestGitlab:
    def test_the_report_is_three_counts(self):
        """Blocks stand as deletes, unblocks as updates; adopt and forget are not counted."""
        made, _ = small()
        assert gitlab.plan(made) == {"create": 2, "update": 3, "delete": 3}
        assert gitlab.plan(empty()[0]) == {"create": 0, "update": 0, "delete": 0}

    def test_drift_is_counted_by_what_would_mend_it(self):
        """A missing account would be created, a changed one updated."""
        assert gitlab.drift(drifted(["B", "C"])) == {"create": 2, "update": 2, "delete": 0}


class TestGithub:
    def test_an_annotation_stands_in_its_file(self):
        """Severity, title, place in the repository, and the sentences on lines of their own."""
        one = error("x", "100% wrong", detail="a: b, c", source=Source("a,b:c.yaml", 3, 4))
        (line,) = github.commands([one], "infra/im")
        assert line == (
            "error title=x,file=infra/im/a%2Cb%3Ac.yaml,line=3,col=4::100%25 wrong%0Aa: b, c"
        )

    def test_at_most_ten_of_a_severity_and_the_last_says_how_many_more(self):
        """GitHub drops the eleventh in silence, so the tenth tells; destructive ones come first."""
        made, _ = big(400, 30)
        notes = Judgement(tuple(info("note", str(number)) for number in range(20)))
        lines = list(github.commands(notices.plan(made, notes)))
        assert len(lines) == 10
        assert all("title=block" in line for line in lines[:9])
        assert lines[9] == (
            "notice title=more::41 more of this severity; --json holds every one of them"
        )
        assert len(list(github.commands([warning("w", "x")] * 10))) == 10

    @pytest.mark.parametrize("attack", ATTACKS)
    def test_no_text_from_outside_is_a_command(self, attack):
        """What is hostile stays within its one command, and reads there as it is shown."""
        evil = ATTACKS[attack]
        one = warning(evil or "x", evil, detail=evil, source=Source(evil, 1), address=evil)
        (line,) = github.commands([one])
        assert "\n" not in line
        name, properties, _ = command(f"::{line}")
        assert name == "warning"
        assert set(properties) == {"title", "file", "line"}
        assert not HARMFUL.search(line)


class TestSarif:
    @pytest.mark.parametrize(
        "findings",
        [
            notices.plan(*small()),
            notices.plan(*empty()),
            notices.plan(*hostile()),
            list(notices.drift(drifted(ATTACKS.values()))),
        ],
        ids=("small", "empty", "hostile", "drift"),
    )
    def test_a_log_is_well_formed(self, findings):
        """Whatever the findings, the log is one that code scanning takes."""
        log = sarif.log(findings, "1.2", "im")
        well_formed(log)
        assert len(log["runs"][0]["results"]) == len(findings)
        # What stands so in a message would be a link.
        assert not any("](" in one["message"]["text"] for one in log["runs"][0]["results"])

    def test_what_one_run_does_not_show_is_counted(self):
        """Beyond 5,000 results the rest is told in a notification; grave ones come first."""
        made, _ = big(5200, 5100)
        log = sarif.log(notices.plan(made, Judgement((error("e", "bad"),))), "1")
        well_formed(log)
        (run,) = log["runs"]
        assert run["results"][0]["level"] == "error"
        (told,) = run["invocations"][0]["toolExecutionNotifications"]
        assert told["message"]["text"].startswith("101 more results are left out")

    def test_a_fingerprint_outlives_a_moved_line(self):
        """The same finding on another line is the same; of another account it is another."""

        def prints(finding):
            (result,) = sarif.log([finding], "1")["runs"][0]["results"]
            return result["partialFingerprints"]

        here = error("x", "limit is 20", source=Source("a.yaml", 3), address="cn/a")
        assert prints(here) == prints(here._replace(source=Source("a.yaml", 9)))
        assert prints(here) == prints(here._replace(summary="limit is 30"))
        assert prints(here) != prints(here._replace(address="cn/b"))

    def test_a_finding_without_a_place_points_to_the_workspace(self):
        """Code scanning takes no result without a place."""
        (result,) = sarif.log([error("x", "y")], "1", "im")["runs"][0]["results"]
        (place,) = result["locations"]
        assert place["physicalLocation"] == {
            "artifactLocation": {"uri": "im/reconciler.yaml"},
            "region": {"startLine": 1},
        }


class TestJunit:
    def read(self, lines):
        """Return the failures of a report by app and check."""
        root = ElementTree.fromstring("\n".join(lines).encode())
        for suite in root:
            cases = suite.findall("testcase")
            assert int(suite.get("tests")) == len(cases)
            assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
        return {
            (case.get("classname"), case.get("name")): case.findtext("failure")
            for case in root.iter("testcase")
        }

    def test_a_case_for_each_app_and_check(self):
        """Limits, protected accounts, rules and all else, of each app and of the workspace."""
        made, judged = small()
        cases = self.read(junit.plan(made, judged))
        checks = ("limits", "protected", "rules", "accounts")
        assert list(cases) == [(app, c) for app in ("workspace", "cn", "sg") for c in checks]
        assert [case for case, failure in cases.items() if failure] == [("workspace", "limits")]

    def test_what_an_account_may_not_fails_its_app(self):
        """A finding with an address belongs to the app of that account."""
        made, _ = small()
        found = (
            error("protected", "no", address="sg/one"),
            error("rule-vip", "no", address="cn/up"),
            error("absent", "gone", address="cn/up"),
        )
        cases = self.read(junit.plan(made, Judgement(found)))
        failed = {case for case, failure in cases.items() if failure}
        assert failed == {("sg", "protected"), ("cn", "rules"), ("cn", "accounts")}

    def test_drift_fails_by_kind(self):
        """Missing, changed and unread accounts are cases of their app; no drift fails none."""
        cases = self.read(junit.drift(drifted(), ("cn", "sg")))
        assert {case for case, failure in cases.items() if failure} == {
            ("cn", "drift-missing"),
            ("cn", "drift-changed"),
            ("cn", "drift-unread"),
        }
        assert not any(self.read(junit.drift(drift([]), ("cn",))).values())

    def test_a_validation_fails_by_kind_of_finding(self):
        """Errors fail, warnings do not, and a valid workspace is one case that passes."""
        cases = self.read(junit.findings([error("a", "x"), error("a", "y"), warning("b", "z")]))
        assert cases == {
            ("workspace", "a"): "error: x\nerror: y",
            ("workspace", "b"): None,
        }
        assert self.read(junit.findings(())) == {("workspace", "valid"): None}

    @pytest.mark.parametrize("attack", ATTACKS)
    def test_any_text_makes_xml(self, attack):
        """Marks are escaped, and characters that XML cannot hold are dropped."""
        evil = ATTACKS[attack]
        self.read(junit.plan(*hostile([evil])))
        self.read(junit.drift(drifted([evil]), (evil,)))
        self.read(junit.findings([error(evil or "x", evil, detail=evil, source=Source(evil))]))


@pytest.fixture(scope="module")
def applied(tmp_path_factory) -> Iterator[World]:
    """A workspace with recorded state, whose vendor has changed behind its back."""
    with emulating() as endpoint:
        world = World(tmp_path_factory.mktemp("formats"), endpoint)
        world.accounts(
            "kept: {profile: {name: Kept}, labels: {tier: vip}}\nlost: {profile: {name: Lost}}"
        )
        assert world.run("apply", "--auto-approve").code == 0
        world.console("kept", profile={"name": "::error::x\n@org <img src=x>"})
        world.workspace(
            "rules:\n"
            "- {id: big, when: {action: [block]}, approval: [leads]}\n"
            "- {id: vip, when: {match: {account_id: 'new-*'}}, deny: not here}\n"
        )
        world.accounts("kept: {banned: {reason: spam}, labels: {tier: vip}}\nlost: {}\nnew-1: {}")
        yield world


def only(format: str, ended: Result) -> None:
    """Assert that stdout holds the format and nothing else."""
    out = ended.out
    match format:
        case "json" | "gitlab" | "sarif":
            json.loads(out)
        case "junit":
            ElementTree.fromstring(out.encode())
        case "html":
            assert out.startswith("<!doctype html>")
            assert out.endswith("</html>\n")
            # What was cleaned on its way out would be another script than the policy names.
            for source in re.findall("<(?:style|script)>(.*?)</", out, re.DOTALL):
                digest = b64encode(hashlib.sha256(source.encode()).digest()).decode()
                assert f"sha256-{digest}" in out
        case "markdown":
            assert out.startswith("<!-- reconciler:")
        case "github":
            assert all(re.match("::(error|warning|notice) ", line) for line in out.splitlines())
    if format != "github":
        assert not HARMFUL.search(out)


class TestCommands:
    @pytest.mark.parametrize("format", FORMATS)
    def test_a_plan_in_each_format(self, applied: World, format: str):
        """Each format stands alone on stdout, and a refused plan is exit 4 in all of them."""
        ended = applied.run("plan", "--format", format)
        only(format, ended)
        assert ended.code == 4
        assert "denied by rule vip" in ended.err
        if format != "gitlab":
            assert "vip" in ended.out or format in ("text", "json")

    @pytest.mark.parametrize("format", FORMATS)
    def test_a_saved_plan_in_each_format(self, applied: World, format: str):
        """`show` knows every format too, and who is to approve."""
        file = applied.root / f"{format}.plan"
        applied.run("plan", "--out", str(file))
        ended = applied.run("show", str(file), "--format", format)
        only(format, ended)
        assert ended.code == 0
        if format in ("text", "json", "markdown", "html"):
            assert "leads" in ended.out

    @pytest.mark.parametrize("format", FORMATS)
    def test_drift_in_each_format(self, applied: World, format: str):
        """Drift is exit 2 in every format, and a hostile name is data in all of them."""
        ended = applied.run("drift", "--format", format)
        only(format, ended)
        assert ended.code == 2
        assert "kept" in ended.out or format == "gitlab"

    @pytest.mark.parametrize("format", FINDINGS)
    def test_findings_in_each_format(self, tmp_path, format: str):
        """A validation that fails is exit 1 in every format, and points into the file."""
        world = World(tmp_path, "http://127.0.0.1:9")
        world.accounts("bot: {profile: {nam: X}}")
        ended = world.run("validate", "--format", format)
        only(format, ended)
        assert ended.code == 1
        shown = ended.err if format == "text" else ended.out
        assert "accounts/team.yaml" in shown
        world.accounts("bot: {profile: {name: X}}")
        fine = world.run("validate", "--format", format)
        only(format, fine)
        assert fine.code == 0

    def test_annotations_point_into_the_repository(self, tmp_path, monkeypatch):
        """A workspace in a folder of the repository is named with that folder."""
        monkeypatch.chdir(tmp_path)
        world = World(tmp_path / "infra" / "im", "http://127.0.0.1:9")
        world.accounts("bot: {profile: {nam: X}}")
        object.__setattr__(world, "root", "infra/im")
        (line,) = world.run("validate", "--format", "github").out.splitlines()
        assert "file=infra/im/accounts/team.yaml,line=2" in line
        (result,) = world.run("validate", "--format", "sarif").json["runs"][0]["results"]
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert place == {"uri": "infra/im/accounts/team.yaml"}

    def test_a_page_knows_the_labels_that_are_recorded(self, applied: World):
        """A block's account is found by its label, although the plan does not touch the label."""
        out = applied.run("plan", "--format", "html").out
        (found,) = re.findall('<script id="data" type="application/json">(.*)</script>', out)
        told = json.loads(found)
        (kept,) = (row for row in told["accounts"] if row[1] == "kept")
        assert [told["tags"][tag] for tag in kept[2]] == ["tier=vip"]

    def test_recorded_state_has_no_report(self, applied: World):
        """`show` without a plan file shows state, which is text or JSON; all else is usage."""
        assert applied.run("show", "--format", "html").code == 64
        assert applied.run("show").code == 0

    def test_other_formats_and_languages_are_wrong_usage(self, applied: World):
        """A format that a command does not have is exit 64, as any wrong option is."""
        for words in (
            ("plan", "--format", "xml"),
            ("validate", "--format", "html"),
            ("apply", "--format", "markdown"),
            ("plan", "--lang", "fr"),
        ):
            assert applied.run(*words).code == 64

    def test_a_review_in_chinese(self, applied: World):
        """`--lang` changes the sentences of text, Markdown and pages, and not the last line."""
        for format in ("text", "markdown", "html"):
            ended = applied.run("plan", "--format", format, "--lang", "zh-CN")
            assert "封禁 1 个账号：spam 1；1 个永久。" in ended.out
            assert "Plan: 1 to create, 2 to update, 1 to block" in ended.out

    def test_a_page_without_its_library_is_an_error_that_says_what_to_install(
        self, applied: World, monkeypatch
    ):
        """Without jinja2 nothing is planned or saved; the message names the extra."""
        monkeypatch.setattr(formats, "find_spec", lambda name: None)
        ended = applied.run("plan", "--format", "html", "--out", str(applied.root / "no.plan"))
        assert ended.code == 1
        assert "pip install 'im-reconciler[report]'" in ended.err
        assert not ended.out
        assert not (applied.root / "no.plan").exists()

    def test_a_job_summary_is_left_to_the_pipeline(self, applied: World, tmp_path):
        """Where GitHub offers a file for a summary, nothing is written there by itself."""
        file = tmp_path / "summary"
        applied.environ["GITHUB_STEP_SUMMARY"] = str(file)
        try:
            applied.run("plan", "--format", "github")
        finally:
            del applied.environ["GITHUB_STEP_SUMMARY"]
        assert not file.exists()


def test_commands_are_cleaned_like_all_that_is_printed():
    """Only the colons at its start are spared; what follows is cleaned like any other line."""
    out = io.StringIO()
    console = Console({}, out, io.StringIO())
    console.commands(["notice title=x::a\x1b[2J ::stop-commands::b"])
    assert out.getvalue() == "::notice title=x::a\\u{1b}[2J \\u{3a}:stop-commands::b\n"


def test_a_plan_of_one_account_names_its_place():
    """A block is a notice in the account file, where the ban is written."""
    made = planned([account(ban={"reason": "spam"}, line=7)], Memory(record()))
    (line,) = github.commands(notices.plan(made, Judgement(())))
    assert command(f"::{line}") == (
        "notice",
        {"title": "block", "file": "accounts/a.yaml", "line": "7"},
        'x block cn/bot (ban_declared)\nbanned.reason "spam", banned for good',
    )
