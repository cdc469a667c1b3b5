"""drift through the command line: baselines, causes, dashboards, webhooks, and no way to write."""

from __future__ import annotations

import base64
import hmac
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from urllib.parse import parse_qsl, urlsplit

import pytest

from reconciler.accounts import Address
from reconciler.cli.console import Console
from reconciler.cli.heartbeat import write_metrics
from reconciler.drift import Drift
from reconciler.errors import VendorError
from reconciler.session import Session
from reconciler.values import to_text
from reconciler.views.heartbeat import Heartbeat, last_success
from tests.scene import VENDORS, Scene
from tests.webhook import Webhook, webhook
from tests.world import World

TWO = """
alice:
  profile: {name: Alice}
bob:
  profile: {name: Bob, sign: hello}
"""


def soon(**time: int) -> str:
    """Return a moment from now as text."""
    return to_text(datetime.now(UTC) + timedelta(**time))


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> World:
    """A workspace with alice and bob applied at an unthrottled emulator."""
    world = World(tmp_path, endpoint)
    world.accounts(TWO)
    assert world.run("apply", "--auto-approve").code == 0
    return world


@pytest.fixture
def hook(world: World) -> Iterator[Webhook]:
    """A webhook whose address is in HOOK."""
    with webhook() as hook:
        world.environ["HOOK"] = hook.url
        yield hook


def baseline(world: World, *entries: str, expires: str = "") -> None:
    """Write known.yaml with entries like `alice profile.name ann`."""
    text = "version: 1\naccepted:\n"
    for id, path, owner in (one.split() for one in entries):
        text += (
            f"  - address: cn-prod/{id}\n    path: {path}\n    owner: {owner}\n"
            f"    reason: known\n    expires: {expires or soon(days=3)}\n"
        )
    world.write("known.yaml", text)


class TestQuiet:
    def test_a_job_says_one_line_when_all_is_well(self, world: World) -> None:
        """Nothing on stderr, and one line on stdout with how much could be checked."""
        ended = world.run("drift")

        assert ended.code == 0
        assert ended.err == ""
        assert ended.out == (
            "No drift. 2 accounts as recorded. "
            "Coverage: 5 fields checked at the vendors, 0 only recorded.\n"
        )

    def test_it_is_exact_when_not(self, world: World) -> None:
        """Account, field, both values and a guess at the cause, and what is missing."""
        world.console("alice", profile={"name": "Al1ce"})
        world.control("accounts/yunxin/demo-app-key/bob", method="DELETE")

        ended = world.run("drift")

        assert ended.code == 2
        assert ended.out.splitlines()[:3] == [
            "  ~ changed  cn-prod/alice",
            '        profile.name: recorded "Alice", the vendor holds "Al1ce" '
            "(perhaps the user's own edit, or the vendor's console)",
            "  ! missing  cn-prod/bob (perhaps changed in the vendor's console)",
        ]

    def test_json_is_a_heartbeat(self, world: World) -> None:
        """Dashboards learn of which workspace, when, how long, and how much was checked."""
        found = world.run("drift", "--json").json

        assert found["workspace"] == "test-im"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["time"])
        assert found["duration_seconds"] >= 0
        assert found["coverage"] == {"checked": 5, "recorded_only": 0}
        assert found["muted"] == {"count": 0, "by": [], "differences": []}

    def test_a_value_that_another_program_puts_back_is_told_as_that(self, world: World) -> None:
        """The value that our own change replaced is found in the history."""
        world.accounts(TWO.replace("name: Alice", "name: New"))
        assert world.run("apply", "--auto-approve").code == 0
        world.console("alice", profile={"name": "Alice"})

        (one,) = world.run("drift", "--json").json["drift"]

        assert one["changes"][0]["cause"] == "another_writer"

    def test_a_change_of_ours_whose_reply_was_lost_is_told_as_that(self, world: World) -> None:
        """What an action in doubt would have set is found to be set: that explains it."""
        world.accounts(TWO.replace("name: Alice", "name: New"))
        lost = {"fault": "close", "times": None}
        world.faults(
            {"match": {"api": "profile_update"}, "executed": True, **lost},
            {"match": {"method": "GET"}, **lost},
        )
        assert world.run("apply", "--auto-approve").code == 3
        world.control("faults", method="DELETE")

        (one,) = world.run("drift", "--json").json["drift"]

        assert [(c["path"], c["cause"]) for c in one["changes"]] == [("profile.name", "in_doubt")]


class TestOwnership:
    def test_what_is_left_to_the_user_is_neither_drift_nor_planned(self, world: World) -> None:
        """Set once at creation; then the user's own, for plan, refresh, drift and coverage."""
        world.accounts("carol:\n  profile: {name: Carol}\n  manage: {profile: on_create}", "more")
        assert world.run("apply", "--auto-approve").code == 0
        assert world.vendor("carol")["profile"]["name"] == "Carol"
        world.console("carol", profile={"name": "mine"})

        found = world.run("drift", "--json")

        assert (found.code, found.json["drift"]) == (0, [])
        assert found.json["coverage"] == {"checked": 6, "recorded_only": 0}
        assert world.run("plan", "--refresh", "--detailed-exitcode").code == 0
        assert world.run("refresh").code == 0
        assert world.run("plan", "--detailed-exitcode").code == 0
        world.accounts("carol:\n  profile: {name: C2}\n  manage: {profile: on_create}", "more")
        assert world.run("plan", "--detailed-exitcode").code == 0
        assert world.run("state", "show", "cn-prod/carol", "--json").json["manage"] == {
            "profile": "on_create"
        }

    def test_taking_it_back_shows_what_the_user_made_of_it(self, world: World) -> None:
        """Without `manage` the profile is ours again, planned from what was seen of it."""
        world.accounts("carol:\n  profile: {name: Carol}\n  manage: {profile: on_create}", "more")
        world.run("apply", "--auto-approve")
        world.console("carol", profile={"name": "mine"})
        world.accounts("carol:\n  profile: {name: Carol}", "more")

        (action,) = world.run("plan", "--refresh", "--json").json["actions"]

        assert [(c["path"], c["before"], c["after"]) for c in action["changes"]] == [
            ("manage.profile", "on_create", None),
            ("profile.name", "mine", "Carol"),
        ]
        assert world.run("drift").code == 0

    def test_leaving_it_to_the_user_calls_no_vendor(self, world: World) -> None:
        """The choice is recorded like a label; from then on the user's edit is no drift."""
        world.console("alice", profile={"name": "mine"})
        assert world.run("drift").code == 2
        world.accounts(TWO.replace("bob:", "  manage: {profile: on_create}\nbob:"))
        before = len(world.mutations())

        assert world.run("apply", "--auto-approve").code == 0

        assert len(world.mutations()) == before
        assert world.run("drift").code == 0

    def test_a_snapshot_carries_it(self, world: World) -> None:
        """A plan against a pulled snapshot knows whose the profile is."""
        world.accounts("carol:\n  profile: {name: Carol}\n  manage: {profile: on_create}", "more")
        world.run("apply", "--auto-approve")
        world.write("pulled.json", world.run("state", "pull").out)

        planned = world.run(
            "plan", "--state", str(world.root / "pulled.json"), "--detailed-exitcode"
        )

        assert planned.code == 0, planned.out

    def test_what_a_create_did_not_come_to_set_is_set_by_the_next_apply(
        self, tmp_path: Path, endpoint: str
    ) -> None:
        """An account that was registered without its profile still gets what is set once."""
        scene = Scene(tmp_path, endpoint, speaks=VENDORS["tencent"])
        scene.declare("a:\n  profile: {{sign: hi}}\n  manage: {{profile: on_create}}\n")
        scene.faults({"match": {"api": "portrait_set"}, "fault": "code", "code": 40005})
        assert scene.run("apply", "--auto-approve").code == 3

        assert scene.run("apply", "--auto-approve").code == 0

        (held,) = scene.everyone()
        assert held["profile"]["sign"] == "hi"
        assert scene.run("plan", "--detailed-exitcode").code == 0


class TestBaseline:
    def test_accepted_differences_are_muted_and_said(self, world: World) -> None:
        """Exit 0 only when all drift is accepted; what is muted is counted, by whom, until when."""
        world.console("alice", profile={"name": "Al1ce"}, enabled=False)
        baseline(world, "alice profile.name ann")
        words = ("drift", "--baseline", "known.yaml")

        half = world.run(*words)
        baseline(world, "alice profile.name ann", "alice banned bob")
        whole = world.run(*words)
        found = world.run(*words, "--json")

        assert half.code == 2
        assert "banned: recorded false" in half.out
        assert "profile.name" not in half.out
        assert whole.code == found.code == 0
        muted, last = whole.out.splitlines()
        assert re.fullmatch(
            r"Muted: 2 differences: 1 by ann until \S+Z, 1 by bob until \S+Z\.", muted
        )
        assert last.startswith("No drift. 1 account as recorded.")
        assert found.json["summary"] == {"changed": 0, "missing": 0, "unchanged": 1}
        assert found.json["muted"]["count"] == 2
        assert [one["path"] for one in found.json["muted"]["differences"]] == [
            "banned",
            "profile.name",
        ]

    def test_an_entry_that_ran_out_is_told_and_its_drift_again(self, world: World) -> None:
        """Noise is muted for a time: then it is exit 2 again and the entry is named."""
        world.console("alice", profile={"name": "Al1ce"})
        baseline(world, "alice profile.name ann", expires="2026-01-01T00:00:00Z")

        ended = world.run("drift", "--baseline", "known.yaml")

        assert ended.code == 2
        assert "known.yaml:3:5: warning: profile.name of cn-prod/alice was accepted" in ended.err

    def test_a_wrong_baseline_is_told_before_a_vendor_is_asked(self, world: World) -> None:
        """It is exit 1, with file, line and column, and no request went out."""
        baseline(world, "alice profile.name ann", expires="never")
        before = len(world.control("requests")["requests"])

        ended = world.run("drift", "--baseline", "known.yaml")

        assert ended.code == 1
        assert "known.yaml:7:14: error: 'never' is not a time" in ended.err
        assert len(world.control("requests")["requests"]) == before

    def test_what_is_found_can_be_accepted(self, world: World) -> None:
        """A written baseline mutes just this drift; written anew it keeps what others accepted."""
        world.console("alice", profile={"name": "Al1ce"})
        write = ("drift", "--write-baseline", "known.yaml", "--owner", "ann", "--expires", "30d")

        first = world.run(*write, "--reason", "TS-1")
        quiet = world.run("drift", "--baseline", "known.yaml")
        world.control("accounts/yunxin/demo-app-key/bob", method="DELETE")
        refused = world.run(*write)
        more = world.run(*write, "--owner", "bob", "--baseline", "known.yaml")
        both = world.run("drift", "--baseline", "known.yaml", "--json")

        assert first.code == more.code == 2, "what is found is found, whatever is written"
        assert quiet.code == 0
        assert refused.code == 1
        assert "exists" in refused.err
        assert both.code == 0
        assert [
            (one["address"], one["path"], one["owner"], one["reason"][:5])
            for one in both.json["muted"]["differences"]
        ] == [
            ("cn-prod/alice", "profile.name", "ann", "TS-1"),
            ("cn-prod/bob", "missing", "bob", "as fo"),
        ]

    def test_what_was_not_looked_at_stays_accepted(self, world: World) -> None:
        """Writing a baseline of some accounts keeps the entries of the others."""
        world.console("alice", profile={"name": "Al1ce"})
        world.console("bob", profile={"name": "B0b"})
        baseline(world, "alice profile.name ann")
        write = ("--write-baseline", "known.yaml", "--owner", "bob", "--expires", "1d")

        world.run("drift", "--target", "cn-prod/bob", "--baseline", "known.yaml", *write)

        found = world.run("drift", "--baseline", "known.yaml", "--json")
        assert found.code == 0
        assert [one["owner"] for one in found.json["muted"]["differences"]] == ["ann", "bob"]

    @pytest.mark.parametrize(
        "words",
        [
            ["--owner", "ann"],
            ["--write-baseline", "b.yaml"],
            ["--write-baseline", "b.yaml", "--owner", "ann"],
            ["--write-baseline", "b.yaml", "--owner", "ann", "--expires", "later"],
            ["--write-baseline", "b.yaml", "--owner", "ann", "--expires", "91d"],
            ["--write-baseline", "b.yaml", "--owner", "a\nb", "--expires", "3d"],
            ["--notify", "https://hooks.slack.com/services/T/B/x"],
        ],
        ids=" ".join,
    )
    def test_wrong_usage(self, world: World, words: list[str]) -> None:
        """Options that say nothing, a far end and an address written out are exit 64."""
        ended = world.run("drift", *words)

        assert ended.code == 64, ended.err
        assert "hooks.slack" not in ended.err
        assert not (world.root / "b.yaml").exists()


class TestMetrics:
    def test_they_are_written_whole_for_everyone_to_read(self, world: World) -> None:
        """Every metric has help, a type and a sample; the file is there for another user."""
        world.console("alice", profile={"name": "Al1ce"})

        assert world.run("drift", "--metrics-file", "drift.prom").code == 2

        file = world.root / "drift.prom"
        text = file.read_text(encoding="utf-8")
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        samples = dict(
            re.findall(r"^reconciler_drift_(\w+)\{workspace=\"test-im\"\} (\S+)$", text, re.M)
        )
        assert {
            name: float(samples[name])
            for name in ("accounts", "changed_accounts", "missing_accounts", "unread_accounts")
        } == {
            "accounts": 2,
            "changed_accounts": 1,
            "missing_accounts": 0,
            "unread_accounts": 0,
        }
        assert (samples["checked_fields"], samples["coverage_ratio"]) == ("5", "1.0")
        now = datetime.now(UTC).timestamp()
        assert now - 600 < float(samples["last_success_timestamp_seconds"]) <= now + 1
        assert text.count("# HELP ") == text.count("# TYPE ") == len(samples) + 1

    def test_a_run_that_fails_leaves_the_last_success(self, world: World) -> None:
        """What was written stays, so that the age of the last success shows."""
        world.run("drift", "--metrics-file", "drift.prom")
        before = (world.root / "drift.prom").read_bytes()
        world.endpoint = "http://127.0.0.1:9"
        world.workspace()

        assert world.run("drift", "--metrics-file", "drift.prom").code == 1

        assert (world.root / "drift.prom").read_bytes() == before

    def test_a_run_that_could_not_read_all_keeps_the_last_success(self, tmp_path: Path) -> None:
        """The age of the last whole picture is what an alert goes by; without one it is 0."""
        whole, half = Drift((), 1, 1, 0), Drift((), 1, 1, 0, (Address("cn/a"),))
        file = tmp_path / "drift.prom"
        for found, stamp, kept in ((half, 1000, 0), (whole, 2000, 2000), (half, 3000, 2000)):
            beat = Heartbeat("prod-im", "t", stamp, 1.0)
            write_metrics(found, beat, str(file), Console({}))
            assert last_success(file.read_text()) == kept
            assert f'last_run_timestamp_seconds{{workspace="prod-im"}} {stamp}' in file.read_text()

    def test_a_file_that_cannot_be_written_only_warns(self, world: World) -> None:
        """The exit code says what was found."""
        ended = world.run("drift", "--metrics-file", "no/such/folder/drift.prom")

        assert ended.code == 0
        assert "warning:" in ended.err
        assert "cannot be written" in ended.err


class TestNotify:
    def test_drift_is_told_and_peace_is_not(self, world: World, hook: Webhook) -> None:
        """Nobody is told that all is well unless they ask for it."""
        assert world.run("drift", "--notify", "env:HOOK").code == 0
        assert hook.posted == []
        assert world.run("drift", "--notify", "env:HOOK", "--heartbeat").code == 0
        assert hook.posted[0][1]["ok"] is True
        world.console("alice", profile={"name": "<!channel> @all"})

        assert world.run("drift", "--notify", "env:HOOK").code == 2

        path, told = hook.posted[-1]
        assert path == "/services/T0/B0/secret-path?key=k-e-y"
        assert told["ok"] is False
        assert told["summary"] == {"changed": 1, "missing": 0, "unchanged": 1}
        assert told["drift"] == [
            {"address": "cn-prod/alice", "kind": "changed", "paths": ["profile.name"]}
        ]
        assert "changed cn-prod/alice: profile.name" in told["text"]
        assert "channel" not in str(told), "values are people's and stay here"

    @pytest.mark.parametrize(
        ("format", "where"),
        [
            ("slack", ("text",)),
            ("feishu", ("content", "text")),
            ("dingtalk", ("text", "content")),
            ("wecom", ("text", "content")),
        ],
    )
    def test_the_workspace_names_a_format(
        self, world: World, hook: Webhook, format: str, where: tuple[str, ...]
    ) -> None:
        """Slack, Feishu, DingTalk and WeCom get the text where they look for it."""
        world.workspace(f"notify:\n  - {{webhook: env:HOOK, format: {format}, when: always}}")

        assert world.run("drift").code == 0

        told = hook.posted[0][1]
        kind = told.get("msg_type") or told.get("msgtype")
        assert kind == (None if format == "slack" else "text")
        for key in where:
            told = told[key]
        assert told.startswith("reconciler: no drift in test-im.")

    @pytest.mark.parametrize("format", ["feishu", "dingtalk"])
    def test_a_robot_that_wants_it_is_told_with_a_signature(
        self, world: World, hook: Webhook, format: str
    ) -> None:
        """Made of the time and a secret that nobody sees: in the message, or in the query."""
        world.environ["ROBOT"] = secret = "SEC-of-the-robot+/="
        form = f"format: {format}, secret: env:ROBOT, when: always"
        world.workspace(f"notify: [{{webhook: env:HOOK, {form}}}]")

        ended = world.run("--log-level", "debug", "drift")

        path, told = hook.posted[0]
        query = dict(parse_qsl(urlsplit(path).query))
        stamp, given = [(told if format == "feishu" else query)[k] for k in ("timestamp", "sign")]
        seconds = int(stamp) / (1 if format == "feishu" else 1000)
        both = f"{stamp}\n{secret}".encode()
        key, message = (both, b"") if format == "feishu" else (secret.encode(), both)
        mac = hmac.new(key, message, "sha256").digest()
        assert ended.code == 0
        assert query["key"] == "k-e-y"
        assert abs(datetime.now(UTC).timestamp() - seconds) < 60
        assert base64.b64decode(given) == mac
        assert secret not in f"{ended.out}{ended.err}{path}{told}"

    def test_a_comparison_that_failed_is_told(self, world: World, hook: Webhook) -> None:
        """Silence would look like peace, so an unreachable vendor is told too."""
        world.endpoint = "http://127.0.0.1:9"
        world.workspace("notify: [{webhook: env:HOOK}]")

        assert world.run("drift").code == 1

        ((_, told),) = hook.posted
        assert told["ok"] is False
        assert "is not known" in told["text"]

    @pytest.mark.parametrize(
        ("status", "body", "headers", "said"),
        [
            (500, b"", {}, "status 500"),
            (404, b"no_service", {}, "status 404"),
            (302, b"", {"Location": "http://127.0.0.1:9/"}, "status 302"),
            (200, b'{"errcode": 310000, "errmsg": "keywords not in content"}', {}, "code 310000"),
            (200, b'{"code": 19024, "msg": "Key Words Not Found"}', {}, "code 19024"),
        ],
    )
    def test_a_refusal_warns_and_changes_no_exit_code(
        self,
        world: World,
        hook: Webhook,
        status: int,
        body: bytes,
        headers: dict[str, str],
        said: str,
    ) -> None:
        """Redirects are not followed, nothing is retried; chat services answer 200 to all."""
        hook.status, hook.body, hook.headers = status, body, headers

        ended = world.run("drift", "--notify", "env:HOOK", "--heartbeat")

        assert ended.code == 0
        assert f"warning: the webhook env:HOOK was not told: it answered with {said}" in ended.err
        assert len(hook.posted) == 1

    @pytest.mark.parametrize(
        ("address", "said"),
        [
            ("http://127.0.0.1:9/services/secret-path", "no answer came (ConnectError)"),
            ("http://hooks.example.com/services/secret-path", "plain http to another machine"),
            ("https://user:secret-path@127.0.0.1/", "no https URL"),
            ("ftp://127.0.0.1/secret-path", "no https URL"),
            ("https://[secret-path", "no URL"),
            ("secret-path", "no https URL"),
            ("", "not set or empty"),
        ],
    )
    def test_an_address_that_does_not_work_is_never_told(
        self, world: World, address: str, said: str
    ) -> None:
        """The warning names the reference and what is wrong; the exit code stays."""
        world.environ["HOOK"] = address

        ended = world.run("--log-level", "debug", "drift", "--notify", "env:HOOK", "--heartbeat")

        assert ended.code == 0
        assert "warning: the webhook env:HOOK was not told" in ended.err
        assert said in ended.err
        assert "secret-path" not in ended.out + ended.err

    def test_a_service_that_hangs_is_given_up(self, hook: Webhook, world: World) -> None:
        """The whole exchange has one deadline."""
        from reconciler.redaction import Redactor
        from reconciler.transport.notify import notify

        hook.hang = Event()
        try:
            assert notify(hook.url, b"{}", Redactor(), patience=0.2) == (
                "no answer came (ReadTimeout)"
            )
        finally:
            hook.hang.set()

    def test_the_address_is_no_token(self, world: World) -> None:
        """An account file cannot use the webhook's reference, or it would be sent to the vendor."""
        world.workspace("notify: [{webhook: env:IM_TOKEN_HOOK}]")
        world.accounts("eve:\n  token: {from: env:IM_TOKEN_HOOK, version: 1}", "more")

        ended = world.run("validate")

        assert ended.code == 1
        assert "belongs to the workspace's own secrets" in ended.err

    def test_an_address_in_the_workspace_is_refused(self, world: World) -> None:
        """Whoever knows the address can write there, so it is a secret."""
        world.workspace("notify: [{webhook: https://hooks.slack.com/services/T/B/x}]")

        ended = world.run("validate")

        assert ended.code == 1
        assert "write a reference" in ended.err


@pytest.mark.parametrize("vendor", VENDORS)
def test_drift_cannot_write(tmp_path: Path, vendor: str, endpoint: str) -> None:
    """What drift reads through refuses every change of every vendor before a byte is sent."""
    scene = Scene(tmp_path, endpoint, speaks=VENDORS[vendor])
    scene.declare("a:\n  profile: {{name: A}}\n")
    assert scene.run("apply", "--auto-approve").code == 0
    scene.control("requests", method="DELETE")

    with Session(tmp_path, scene.environ) as session:
        link = session.readers(())["app"]
        provider = link.provider
        fields = {"profile.name": "B", "configuration.p2p_chat_banned": True}
        for call in (
            provider.create({"b": {"profile": {"name": "B"}}}),
            provider.update("a", fields, None),
            provider.block("a", {"kick": True}),
            provider.unblock("a", {}),
        ):
            with pytest.raises(VendorError, match="would change the vendor"):
                link.send(call)
    assert scene.requests() == []
    assert scene.run("drift").code == 0
    assert not [call for call in scene.requests() if call["mutated"]]
