"""The secret sweep: no secret by any exit, in any encoding, whatever the vendor and we do wrong."""

from __future__ import annotations

import contextlib
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.emulator import Settings
from reconciler.errors import SecretError
from reconciler.secrets import Resolver
from reconciler.values import Reference
from reconciler.workspace import SecretSettings
from tests.canaries import HOLD, Relay, contents, disguises, echo, of_process, relayed, seen
from tests.forks import Child
from tests.shared_emulator import emulating
from tests.world import World

ROOT = Path(__file__).parent.parent
DRIVER = "from tests.canaries import driven; driven()"

APP_SECRET = 'Net"ease\\secret/+ 密=0'
SECRET_KEY = "ten'cent\\key/+ 钥=0"
KEY = 'fingerprint"key/+\\ 印'
TOKEN_ENV = 'env"token/+\\ 一'
TOKEN_FILE = 'file"token/+\\ 二'
MOBILE = "+8613800138000"

WORKSPACE = """\
version: 1
workspace: sweep
providers:
  cn:
    type: yunxin
    endpoint: {endpoint}
    credentials: {{app_key: 'cmd:["sh","key.sh"]', app_secret: env:APP_SECRET}}
  us:
    type: commsease
    endpoint: {endpoint}/nimserver
    credentials: {{app_key: demo-app-key, app_secret: env:APP_SECRET}}
  sg:
    type: tencent
    endpoint: {endpoint}
    credentials: {{sdk_app_id: "1400000000", admin: administrator, secret_key: env:SECRET_KEY}}
secrets: {{allow: ["env:IM_TOKEN_*", "file:secrets/*"], fingerprint_key: env:FINGERPRINT}}
"""
ACCOUNTS = """\
VENDOR-env:
  provider: VENDOR
  profile: {name: A, mobile: +8613800138000}
  token: {from: env:IM_TOKEN_A, version: 1}
VENDOR-file:
  provider: VENDOR
  profile: {name: B}
  token: {from: "file:secrets/b", version: 1}
VENDOR-minted:
  provider: VENDOR
  token: {generate: true, sink: "file:secrets/VENDOR", version: 1}
VENDOR-vendor:
  provider: VENDOR
  token: {generate: vendor, sink: "file:secrets/VENDOR-vendor", version: 1}
"""
TENCENT = "sg-one:\n  provider: sg\n  profile: {name: C}\nsg-two:\n  provider: sg\n"
# What a child is started with is an exit too; the key itself is no secret.
CHILD = "cat /proc/$$/cmdline /proc/$$/environ > child.dump\nprintf demo-app-key\n"

NETEASE = (
    "app secret",
    "CheckSum",
    "env token",
    "file token",
    "minted token",
    "vendor's token",
    "HMAC key",
)
SECRETS: Mapping[str, tuple[str, ...]] = {
    "cn": NETEASE,
    "us": NETEASE,
    "sg": ("secret key", "UserSig", "HMAC key"),
}
EXITS = (
    "plan text and debug log",
    "plan JSON",
    "plan file",
    "apply stdout",
    "apply stderr and debug log",
    "event stream",
    "stderr of the event stream",
    "state, WAL and marks",
    "snapshot",
    "backup",
    "history",
    "records",
    "drift",
    "child argv and environment",
    "own argv",
    "temporary and current folder",
)
# Where personal fields have no business either.
IMPERSONAL = (*EXITS[3:7], *EXITS[13:])
CELLS = {
    *((exit, vendor, one) for exit in EXITS for vendor, all_ in SECRETS.items() for one in all_),
    *((exit, vendor, "mobile") for exit in IMPERSONAL for vendor in ("cn", "us")),
}
STATUS = {"4xx": "400 Bad Request", "200 refused": "200 OK", "5xx": "500 Oops"}
REFUSALS = ("4xx", "200 refused")
OUTCOMES = ("ok", "4xx", "200 refused", "5xx", "timeout", "killed")
WRITES = re.compile(
    rb"POST (/im/v2/accounts|[^ ]*/(create|update)\.action|[^ ]*/(multi)?account_import)[ ?]"
)


@dataclass
class Sweep(World):
    """A workspace with an app of every vendor, secrets of every kind, and every exit watched."""

    exits: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for folder in ("tmp", "cwd"):
            (self.root / folder).mkdir()
        self.environ |= {
            "APP_SECRET": APP_SECRET,
            "SECRET_KEY": SECRET_KEY,
            "FINGERPRINT": KEY,
            "IM_TOKEN_A": TOKEN_ENV,
            "TMPDIR": str(self.root / "tmp"),
            "HOME": str(self.root / "tmp"),
            "RECONCILER_LOG": "debug",
        }
        self.write("key.sh", CHILD)
        self.write("secrets/b", TOKEN_FILE).chmod(0o600)
        self.accounts("".join(ACCOUNTS.replace("VENDOR", v) for v in ("cn", "us")) + TENCENT)

    def workspace(self, more: str = "", name: str = "") -> None:
        """Write reconciler.yaml."""
        self.write("reconciler.yaml", WORKSPACE.format(endpoint=self.endpoint))

    def launch(self, *words: str, breaks: str = "") -> Child:
        """Start a command that gives up on a silent vendor soon, or breaks inside."""
        self.environ["BREAK"] = breaks
        return self.start(*words, run="tests.canaries:driven", cwd=str(self.root / "cwd"))

    def type(self, *words: str) -> subprocess.Popen[bytes]:
        """Start the same from its own arguments, and look at them."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", DRIVER, "--chdir", str(self.root), *words],
            env=self.environ | {"PYTHONPATH": str(ROOT)},
            cwd=self.root / "cwd",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.found("own argv", of_process(process.pid, "cmdline"))
        return process

    def found(self, exit: str, data: bytes) -> None:
        """Keep what came out by an exit."""
        self.exits[exit] = self.exits.get(exit, b"") + data

    def gather(self, *exits: str, process: Child | subprocess.Popen[bytes]) -> int:
        """Wait for a command and keep what it printed."""
        if isinstance(process, Child):
            code = process.wait()
            out, err = ((process.folder / name).read_bytes() for name in ("out", "err"))
        else:
            out, err = process.communicate(timeout=60)
            code = process.returncode
        self.found(exits[0], out)
        self.found(exits[-1], err)
        return code

    def look(self) -> None:
        """Look at everything that is left on disk, and at what the commands tell of it."""
        self.found("state, WAL and marks", contents(self.root / ".reconciler"))
        self.found("child argv and environment", (self.root / "child.dump").read_bytes())
        self.found("temporary and current folder", contents(self.root / "tmp", self.root / "cwd"))
        for exit, words in {
            "plan JSON": ("plan", "--json"),
            "snapshot": ("state", "pull"),
            "history": ("state", "history"),
            "records": ("show",),
            "drift": ("drift",),
        }.items():
            ended = self.run("--log-level", "debug", *words)
            self.found(exit, (ended.out + ended.err).encode())
        self.found("history", self.run("state", "history", "--json").out.encode())
        self.run("state", "backup")
        self.found("backup", contents(self.root / ".reconciler/backups"))

    def delivered(self, *sinks: str) -> set[str]:
        """Return the tokens that reached some sinks."""
        files = [self.root / "secrets" / sink for sink in sinks]
        return {file.read_text() for file in files if file.exists()}

    def secrets(self, relay: Relay) -> dict[str, set[str]]:
        """Return the values of every kind of secret, those made on the way as the vendor saw."""
        heard = b"\n".join(relay.heard)
        return {
            "app secret": {APP_SECRET},
            "secret key": {SECRET_KEY},
            "env token": {TOKEN_ENV},
            "file token": {TOKEN_FILE},
            "HMAC key": {KEY},
            "minted token": self.delivered("cn", "us"),
            "vendor's token": self.delivered("cn-vendor", "us-vendor"),
            "CheckSum": {one.decode() for one in re.findall(rb"(?i)checksum: *([0-9a-f]+)", heard)},
            "UserSig": {
                one.decode().replace("%2A", "*") for one in re.findall(rb"usersig=([^& ]+)", heard)
            },
        }


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Sweep, Relay]]:
    """A workspace whose vendors are behind a relay."""
    settings = Settings(rate=0, app_secret=APP_SECRET, secret_key=SECRET_KEY)
    with emulating(settings) as upstream, relayed(upstream) as relay:
        yield Sweep(tmp_path, relay.endpoint), relay


def misbehave(outcome: str, relay: Relay, world: Sweep) -> None:
    """Have the vendors do to every write what the outcome says.

    Those that refuse repeat the request, its secrets and the app's own, in every encoding.
    """

    def meddle(request: bytes) -> bytes | None:
        if not WRITES.match(request):
            return None
        if outcome in ("timeout", "killed"):
            return HOLD
        app = "secret key" if b" /v4/" in request else "app secret"
        known = [
            value
            for name, values in world.secrets(relay).items()
            for value in values
            if name == app or seen(request, value)
        ]
        return echo(STATUS[outcome], request, known)

    if outcome != "ok":
        relay.meddle = meddle


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_no_secret_by_any_exit(
    place: tuple[Sweep, Relay], outcome: str, record_property: pytest.RecordProperty
) -> None:
    """Of every vendor's secrets none is at any exit in any encoding, whatever a write meets."""
    world, relay = place
    misbehave(outcome, relay, world)
    planned = world.launch("plan", "--out", "next.plan.json")
    assert world.gather("plan text and debug log", process=planned) == 0
    world.found("plan file", (world.root / "next.plan.json").read_bytes())

    applying = world.type("apply", "next.plan.json")
    if outcome == "killed":
        assert relay.held.wait(60)
        world.found("state, WAL and marks", contents(world.root / ".reconciler"))
        applying.send_signal(signal.SIGKILL)
    ended = world.gather("apply stdout", "apply stderr and debug log", process=applying)
    assert ended == {"ok": 0, "killed": -signal.SIGKILL}.get(outcome, 3)
    world.look()
    relay.meddle = lambda _request: None
    if outcome in REFUSALS:
        misbehave(outcome, relay, world)
    again = world.launch("apply", "--json", "--auto-approve")
    world.gather("event stream", "stderr of the event stream", process=again)
    world.look()

    values = world.secrets(relay) | {"mobile": {MOBILE}}
    assert world.exits.keys() == set(EXITS)
    never = {"vendor's token"} if outcome in REFUSALS else set()
    assert {secret for secret, found in values.items() if not found} == never
    leaks = [
        (exit, secret, found)
        for exit, secret in sorted({(exit, secret) for exit, _, secret in CELLS})
        for value in values[secret]
        if (found := seen(world.exits[exit], value))
    ]
    assert leaks == []
    record_property("cells", len(CELLS))


def test_the_sweep_is_as_wide_as_it_says() -> None:
    """Exits, secrets, vendors and outcomes make far more than 360 cells, in eight encodings."""
    assert len(CELLS) * len(OUTCOMES) == 1716
    assert len(disguises(APP_SECRET)) == 8


@pytest.mark.parametrize("encoding", disguises(""))
def test_the_sweep_bites(tmp_path: Path, encoding: str) -> None:
    """A secret is found where it is planted: any encoding, in every kind of exit."""
    for number, planted in enumerate(disguises(APP_SECRET)[encoding]):
        text = planted.decode()
        printed = subprocess.run(
            [sys.executable, "-Ic", "import sys; print('x' + sys.argv[1] + 'y')", text],
            stdout=subprocess.PIPE,
            check=True,
        )
        assert encoding in seen(printed.stdout, APP_SECRET)
        waiting = subprocess.Popen(["sleep", "60"], env={"X": f"a{text}b"})
        try:
            environ = of_process(waiting.pid, "environ")
        finally:
            waiting.kill()
            waiting.wait()
        assert encoding in seen(environ, APP_SECRET)
        folder = tmp_path / str(number)
        (folder / "deep").mkdir(parents=True)
        (folder / "deep/left.tmp").write_bytes(b"\0" + planted + b"\xff")
        assert encoding in seen(contents(folder), APP_SECRET)
        with contextlib.closing(sqlite3.connect(folder / "state.db")) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE journal (message TEXT)")
            database.execute("INSERT INTO journal VALUES (?)", (f"refused: {text}",))
            database.commit()
            (folder / "deep/left.tmp").unlink()
            assert encoding in seen(contents(folder), APP_SECRET)
        if b"/" not in planted:
            (folder / "empty").mkdir()
            (folder / "empty" / f"core.{text}").touch()
            assert encoding in seen(contents(folder / "empty"), APP_SECRET)


BREAKS = {
    "reconciler.transport:encode": "apply",
    "reconciler.transport:target": "apply",
    "reconciler.transport:headers": "apply",
    "reconciler.transport.wire:_Pool.handle_request": "apply",
    "reconciler.transport.wire:Wire.exchange": "drift",
    "reconciler.transport:judge": "drift",
    "reconciler.providers.tencent:usersig": "drift",
    "reconciler.session.tokens:Tokens.resolve": "apply",
    "reconciler.secrets:Resolver.resolve": "drift",
    "reconciler.secrets:_clean": "drift",
    "reconciler.secrets:fingerprint": "apply",
    "reconciler.secrets:replace_private": "apply",
    "reconciler.transport:token_at": "apply",
    "reconciler.cli.progress:Reporter.tell": "apply",
}


def test_no_secret_by_a_defect_of_our_own(place: tuple[Sweep, Relay]) -> None:
    """Where our own code breaks and tells all it has at hand, still no secret comes out."""
    world, relay = place
    applied = world.launch("apply", "--auto-approve")
    assert world.gather("out", "err", process=applied) == 0
    team = (world.root / "accounts/team.yaml").read_text()
    told = b""
    for number, (place_, command) in enumerate(BREAKS.items(), 2):
        world.exits.clear()
        world.write("accounts/team.yaml", team.replace("version: 1", f"version: {number}"))
        words = [command, *(["--auto-approve"] if command == "apply" else [])]
        broken = world.launch(*words, breaks=place_)
        assert world.gather("out", "err", process=broken) in (1, 3), place_
        assert (world.root / "tmp/broken").exists(), place_
        (world.root / "tmp/broken").unlink()
        world.found("state", contents(world.root / ".reconciler"))
        leaks = [
            (place_, secret, exit, found)
            for exit, data in world.exits.items()
            for secret, values in world.secrets(relay).items()
            for value in values
            if (found := seen(data, value))
        ]
        assert leaks == []
        told += world.exits["err"]
    assert b"Traceback" in told


def test_a_secret_that_is_refused_is_hidden_too(tmp_path: Path) -> None:
    """A value that cannot be used, here of two lines, is out of every text from then on."""
    file = tmp_path / "key"
    file.write_text("first-line\nsecond-line")
    file.chmod(0o600)
    resolver = Resolver(tmp_path, SecretSettings(), environ={})
    with pytest.raises(SecretError):
        resolver.resolve(Reference("file:key"))
    assert resolver.redactor.redact(f"it was {file.read_text()}") == "it was ***"


def test_a_redacted_snapshot_holds_no_mobile_number(place: tuple[Sweep, Relay]) -> None:
    """`state pull --redact`, and a plan made against it, hold no personal field."""
    world, _ = place
    assert world.run("apply", "--auto-approve").code == 0
    assert seen(world.run("state", "pull").out.encode(), MOBILE) == ["raw", "json", "repr"]
    pulled = world.run("state", "pull", "--redact").out
    file = world.write("redacted.json", pulled)
    planned = [world.run("plan", "--state", str(file), *more) for more in ((), ("--json",))]
    for text in (pulled, *(one.out + one.err for one in planned)):
        assert seen(text.encode(), MOBILE) == []
