"""A hostile checkout: neither what lies in the folder nor what a text says commands us."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.canaries import Relay, relayed, seen
from tests.forks import forking
from tests.transport_faults import Server, certificate
from tests.transport_faults import http as answers
from tests.world import Result, World

CONSOLE = Path(sys.executable).with_name("reconciler")
ACCOUNTS = """
alice:
  profile: {name: Alice}
  token: {from: env:IM_TOKEN_A, version: 1}
"""
# Modules of ours, of what we use, of the standard library as it is loaded late, and the
# interpreter's own hooks.
MODULES = (
    "yaml",
    "httpx",
    "httpcore",
    "certifi",
    "jsonschema",
    "deepdiff",
    "rich",
    "sqlite3",
    "resource",
    "logging",
    "json",
    "argparse",
    "subprocess",
    "uuid",
    "readline",
)
HOOKS = ("sitecustomize", "usercustomize")
TRAP = "import pathlib\npathlib.Path({marker!r}).write_text(__name__)\nraise SystemExit(99)\n"


class Checkout(World):
    """A checkout that holds everything a person who means harm could put there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.accounts(ACCOUNTS)
        self.marker = self.root.with_name(f"{self.root.name}.marker")
        self.write(".env", "APP_SECRET=evil\nHTTPS_PROXY=http://127.0.0.1:9\n")
        self.write(".netrc", "default login evil password evil\n").chmod(0o600)
        self.environ["HOME"] = str(self.root)

    def plant(self, *names: str, folder: str = ".") -> None:
        """Plant modules that leave a mark when they are run."""
        for name in names:
            self.write(f"{folder}/{name}.py", TRAP.format(marker=str(self.marker)))

    def do(self, *words: str, **environ: str) -> Result:
        """Run a command in the checkout, in a process that knows no other environment."""
        child = forking().start(words, self.environ | environ, cwd=str(self.root))
        return Result(child.wait(), child.out, child.err)

    def type(self, *words: str | Path, **environ: str) -> Result:
        """Run a program in the checkout, as a person or a CI job does."""
        ended = subprocess.run(
            [str(word) for word in words],
            cwd=self.root,
            env=self.environ | environ,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        return Result(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def place(tmp_path: Path, endpoint: str) -> Iterator[tuple[Checkout, Relay]]:
    """A checkout whose vendor is behind a relay."""
    root = tmp_path / "checkout"
    root.mkdir()
    with relayed(endpoint) as relay:
        yield Checkout(root, relay.endpoint), relay


WAYS: Mapping[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "console": ((str(CONSOLE),), {}),
    "console, PYTHONPATH .": ((str(CONSOLE),), {"PYTHONPATH": "."}),
    "console, PYTHONPATH here": ((str(CONSOLE),), {"PYTHONPATH": "HERE"}),
    "module, -P": ((sys.executable, "-P", "-m", "reconciler"), {}),
    "module": ((sys.executable, "-m", "reconciler"), {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_modules_of_a_checkout_are_not_run(place: tuple[Checkout, Relay], way: str) -> None:
    """No `yaml.py`, `httpx.py` or `sitecustomize.py` of the current folder is ever imported.

    With PYTHONPATH or plain `-m` the interpreter itself looks there before any code of ours, for
    what it loads at its start; the README says so.
    """
    world, relay = place
    words, environ = WAYS[way]
    environ = {k: v.replace("HERE", str(world.root)) for k, v in environ.items()}
    late = [name for name in MODULES if name not in ("json", "logging", "argparse", "subprocess")]
    if way in ("console", "module, -P"):
        world.plant(*MODULES, *HOOKS, "re", "os", "types", "reconciler")
    elif way == "module":
        world.plant(*MODULES, *HOOKS)
    else:
        world.plant(*late)
    codes = [
        world.type(*words, *command, **environ).code
        for command in (
            ("plan", "--out", "next.plan.json"),
            ("apply", "next.plan.json"),
            ("drift",),
        )
    ]
    assert codes == [0, 0, 0]
    assert not world.marker.exists()
    assert any(request.startswith(b"POST /im/v2/accounts ") for request in relay.heard)


def test_the_traps_work(place: tuple[Checkout, Relay]) -> None:
    """A program that trusts its folder does run the planted module, so the test can fail."""
    world, _ = place
    world.plant("yaml")
    assert world.type(sys.executable, "-c", "import yaml").code == 99
    assert world.marker.read_text() == "yaml"


def test_no_dot_env_is_read(place: tuple[Checkout, Relay]) -> None:
    """A secret that is not in the environment is missing, whatever `.env` says."""
    world, relay = place
    del world.environ["APP_SECRET"]
    ended = world.do("apply", "--auto-approve")
    assert ended.code != 0
    assert "APP_SECRET" in ended.err
    assert relay.heard == []


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


def test_no_proxy_is_taken_from_the_environment(place: tuple[Checkout, Relay]) -> None:
    """Proxies and `.netrc` of the environment are not used: nobody but the vendor hears a thing."""
    world, relay = place
    with Server(answers("")) as trap:
        environ = dict.fromkeys(PROXIES, trap.endpoint)
        ended = world.do("apply", "--auto-approve", NETRC=".netrc", **environ)
        assert ended.code == 0
        assert trap.connections == 0
    assert relay.heard
    assert not any(b"uthorization" in request for request in relay.heard)


def test_no_keys_and_no_authorities_are_taken_from_the_environment(
    place: tuple[Checkout, Relay], tmp_path: Path
) -> None:
    """SSLKEYLOGFILE gets no session key, and SSL_CERT_FILE makes no one trusted."""
    world, _ = place
    context = certificate(tmp_path)
    keys = tmp_path / "keys.log"
    environ = {"SSLKEYLOGFILE": str(keys), "SSL_CERT_DIR": str(tmp_path)}
    environ["SSL_CERT_FILE"] = str(tmp_path / "cert.pem")
    with Server(answers('{"code":200,"data":{}}'), context=context) as server:
        world.endpoint = server.endpoint
        world.workspace()
        refused = world.do("import", "cn-prod/alice", **environ)
        assert (refused.code, server.seen) == (1, [])
        text = (world.root / "reconciler.yaml").read_text()
        trusted = text.replace("    rate:", f"    ca_file: {tmp_path / 'cert.pem'}\n    rate:")
        world.write("reconciler.yaml", trusted)
        world.do("import", "cn-prod/alice", **environ)
        assert server.seen
        assert not keys.exists()
        # The trap works: Python's own context writes the keys.
        os.environ["SSLKEYLOGFILE"] = str(keys)
        try:
            naive = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        finally:
            del os.environ["SSLKEYLOGFILE"]
        client = http.client.HTTPSConnection("127.0.0.1", server.port, context=naive)
        client.request("GET", "/")
        client.getresponse().read()
        client.close()
        assert keys.read_text()


def test_redirects_are_not_followed(place: tuple[Checkout, Relay]) -> None:
    """An answer that sends us elsewhere, say to a cloud's metadata, is told and not followed."""
    world, relay = place
    with Server(answers("{}")) as trap:
        goals = iter(["http://169.254.169.254/latest/", f"{trap.endpoint}/x"] * 50)
        relay.meddle = lambda _request: (
            b"HTTP/1.1 307 Go\r\nContent-Length: 0\r\nLocation: "
            + next(goals).encode()
            + b"\r\n\r\n"
        )
        ended = world.run("import", "cn-prod/alice")
        assert ended.code == 1
        assert "307" in ended.err
        assert trap.connections == 0


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("http://vendor.example", "plain-http"),
        ("http://127.0.0.1.example", "plain-http"),
        ("http://localhost.example", "plain-http"),
        ("http://2130706433", "plain-http"),
        ("http://0.0.0.0", "plain-http"),
        ("https://user:pa55word@vendor.example", "bad-url"),
        ("https://vendor.example#x", "bad-url"),
        ("https://vendor.example?x=", "bad-url"),
        ("ftp://vendor.example", "bad-url"),
        ("https://vendor.example\\\\@evil.example", "bad-url"),
    ],
)
def test_secrets_do_not_go_just_anywhere(
    place: tuple[Checkout, Relay], endpoint: str, told: str
) -> None:
    """An endpoint in plain text off this machine, or with anything but a host, is refused."""
    world, _ = place
    world.endpoint = f'"{endpoint}"'
    world.workspace()
    ended = world.run("validate", "--json")
    assert [one["id"] for one in ended.json["diagnostics"]] == [told]
    assert "pa55word" not in ended.out + world.run("apply", "--auto-approve").err


@pytest.mark.parametrize(
    "reference",
    [
        "env:APP_SECRET",
        "env:APP_KEY",
        "env:FINGERPRINT",
        "env:PROXY",
        "env:HOME",
        "file:/proc/self/environ",
        "file:secrets/../../x",
        "file:secrets/app",
        "file:./secrets/app",
        'cmd:["cat","secrets/app"]',
        "minted:cn-prod/alice",
    ],
)
def test_an_account_cannot_name_another_secret(
    place: tuple[Checkout, Relay], reference: str
) -> None:
    """`token: {from: env:APP_SECRET}` and the like are refused at validate, and send nothing."""
    world, relay = place
    text = (world.root / "reconciler.yaml").read_text()
    text = text.replace("    rate: 2000", "    rate: 2000\n    proxy: env:PROXY")
    text = text.replace("app_secret: env:APP_SECRET", "app_secret: file:secrets/app")
    text = text.replace(
        'allow: ["env:IM_TOKEN_*"',
        'fingerprint_key: env:FINGERPRINT, allow: ["env:A*", "env:F*", "env:P*"',
    )
    if reference == "env:APP_SECRET":
        text = text.replace("file:secrets/app", "env:APP_SECRET")
    world.write("reconciler.yaml", text)
    world.accounts(f"alice:\n  token: {{from: '{reference}', version: 1}}")
    validated = world.run("validate", "--json")
    assert [one["severity"] for one in validated.json["diagnostics"]] == ["error"]
    assert world.run("apply", "--auto-approve").code == 1
    assert relay.heard == []


@pytest.mark.parametrize("name", ["team.yaml", "team.jsonl", "team.csv"])
def test_a_token_written_out_is_not_repeated(place: tuple[Checkout, Relay], name: str) -> None:
    """A secret written where a reference belongs is refused without being told to the CI log."""
    world, _ = place
    token = "hunter2-hunter2"
    (world.root / "accounts/team.yaml").unlink()
    world.write(
        f"accounts/{name}",
        {
            "team.yaml": f"accounts:\n  a:\n    token: {token}\n"
            f"  b:\n    token: {{from: {token}}}\n",
            "team.jsonl": json.dumps({"id": "a", "token": token})
            + "\n"
            + json.dumps({"id": "b", "token": {"from": token}}),
            "team.csv": f"id,token.from\na,{token}\n",
        }[name],
    )
    text = (world.root / "reconciler.yaml").read_text()
    text = text.replace("env:APP_SECRET", token) + f"accounts: [accounts/{name}]\n"
    world.write("reconciler.yaml", text)
    for words in (("validate",), ("validate", "--json"), ("plan",), ("apply", "--auto-approve")):
        ended = world.run(*words)
        assert ended.code == 1
        assert seen((ended.out + ended.err).encode(), token) == []
    world.write("reconciler.yaml", text.replace(token, "env:APP_SECRET"))
    for words in (("validate",), ("validate", "--json"), ("plan",), ("apply", "--auto-approve")):
        ended = world.run(*words)
        assert ended.code == 1
        assert seen((ended.out + ended.err).encode(), token) == []


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("GITHUB_EVENT_NAME", "pull_request"),
        ("GITHUB_EVENT_NAME", "pull_request_target"),
        ("CI_PIPELINE_SOURCE", "merge_request_event"),
    ],
)
def test_apply_does_not_run_for_a_pull_request(
    place: tuple[Checkout, Relay], name: str, event: str
) -> None:
    """Apply in the run of a pull request is refused before anything is read; a plan is not."""
    world, relay = place
    world.environ[name] = event
    assert world.run("plan", "--out", str(world.root / "p.json")).code == 0
    for words in (("apply", "--auto-approve"), ("apply", str(world.root / "p.json"))):
        ended = world.run(*words)
        assert ended.code == 1
        assert event in ended.err
        assert "protected branch" in ended.err
    assert relay.heard == []
    assert not (world.root / ".reconciler").exists()
    world.environ[name] = "push"
    assert world.run("apply", "--auto-approve").code == 0


@pytest.mark.parametrize(
    ("told", "logs"),
    [("debug", True), ("TRACE", True), ("off", False), ("", False), ("nonsense", False)],
)
def test_the_log_level_of_the_environment(
    place: tuple[Checkout, Relay], told: str, logs: bool
) -> None:
    """RECONCILER_LOG takes Terraform's words; one that is no level is said, and nothing breaks."""
    world, _ = place
    ended = world.do("import", "cn-prod/nobody", RECONCILER_LOG=told)
    assert ended.code == 1
    assert ("DEBUG reconciler" in ended.err) == logs
    assert ("is no log level" in ended.err) == (told == "nonsense")


def test_a_folder_that_is_gone(place: tuple[Checkout, Relay]) -> None:
    """A command in a folder that was removed says so, without a traceback."""
    world, _ = place
    script = f"mkdir gone && cd gone && rmdir ../gone && exec {CONSOLE} plan"
    ended = world.type("sh", "-c", script)
    assert ended.code == 1
    assert "error:" in ended.err
    assert "Traceback" not in ended.err
