"""What a release wrote, kept so that every later one reads it: `python -m tests.golden_released`.

It plays a story with this version and writes a folder for it. Once a version is released its folder
is never written again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from hashlib import sha256
from importlib import resources
from pathlib import Path

import psycopg
from psycopg import sql

from reconciler import __version__
from reconciler.emulator import Settings, running
from tests.postgres_server import serving
from tests.world import World

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests/golden/released"
APPS = {"yunxin": "yunxin/demo-app-key", "tencent": "tencent/1400000000"}
FIELDS = ("account_id", "profile", "configuration", "extra", "enabled", "logged_in")
JOB = {
    "GITLAB_CI": "true",
    "GITLAB_USER_LOGIN": "ann",
    "CI_JOB_URL": "https://git.example.com/im/-/jobs/1",
    "CI_PROJECT_PATH": "im",
    "CI_COMMIT_REF_NAME": "main",
    "CI_COMMIT_SHA": "a" * 40,
}
"""Who did it, so that nothing is kept of the machine where the folder was made."""
WORKSPACE = """\
version: 1
workspace: prod-im
providers:
  cn-prod:
    type: yunxin
    endpoint: ENDPOINT
    credentials: {app_key: env:APP_KEY, app_secret: env:APP_SECRET}
  sg-chat:
    type: tencent
    endpoint: ENDPOINT
    credentials: {sdk_app_id: "1400000000", admin: administrator, secret_key: env:SECRET_KEY}
secrets: {allow: ["env:IM_TOKEN_*"]}
"""
BEFORE = """\
defaults: {provider: cn-prod}
accounts:
  kept: {profile: {name: Kept, extension: {level: 3}}, labels: {team: support}, protected: true}
  both: {provider: [cn-prod, sg-chat], profile: {name: Both}}
  renamed: {profile: {name: Before, sign: hello}, token: {from: env:IM_TOKEN_A, version: 1}}
  spammer: {profile: {name: Spammer}}
  fined: {banned: {reason: spam, until: 2090-01-01T00:00:00Z}}
  free: {banned: {reason: fraud, ticket: TS-1, evidence: ["https://x.example/1"], kick: false}}
  gone: {profile: {name: Gone}, on_absent: forget}
  user: {profile: {name: First}, manage: {profile: on_create}}
"""
AFTER = """\
defaults: {provider: cn-prod}
accounts:
  kept: {profile: {name: Kept, extension: {level: 3}}, labels: {team: support}, protected: true}
  both: {provider: [cn-prod, sg-chat], configuration: {p2p_chat_banned: true}}
  renamed: {profile: {name: 客服}, token: {from: env:IM_TOKEN_A, version: 2}, labels: {tier: vip}}
  spammer: {profile: {name: Spammer}, banned: {reason: spam, ticket: TS-2}}
  fined: {banned: {reason: spam, until: 2091-01-01T00:00:00Z}}
  free: {}
  user: {profile: {name: First}, manage: {profile: on_create}}
  known: {adopt: true, banned: {reason: bot}}
  new: {profile: {name: New, gender: female, birthday: 1990-01-31}}
"""


def world(root: Path, endpoint: str, files: Path) -> World:
    """Return a workspace with the files of a folder, at the vendors of an emulator."""
    root.mkdir(parents=True, exist_ok=True)
    made = World(root, endpoint)
    made.environ |= {"SECRET_KEY": "demo-secret-key", **JOB}
    text = (files / "reconciler.yaml").read_text(encoding="utf-8")
    made.write("reconciler.yaml", text.replace("ENDPOINT", endpoint))
    made.write("accounts/team.yaml", (files / "accounts.yaml").read_text(encoding="utf-8"))
    return made


def story(folder: Path, place: World, *, whole: bool) -> None:
    """Apply what was before, plan what comes after, and keep what is to be kept."""

    def run(*words: str) -> str:
        ended = place.run(*words)
        assert ended.code == 0, (words, ended.err)
        return ended.out

    place.seed("known")
    place.write("accounts/team.yaml", BEFORE)
    run("apply", "--auto-approve", "--allow", "block=2")
    place.write("accounts/team.yaml", AFTER)
    if whole:
        (folder / "snapshot.json").write_text(run("state", "pull"), encoding="utf-8")
        (folder / "redacted.json").write_text(run("state", "pull", "--redact"), encoding="utf-8")
        run("plan", "--out", str(folder / "plan.json"))
        held = {
            vendor: [
                {field: one[field] for field in FIELDS}
                for one in place.control(f"accounts/{app}")["accounts"]
            ]
            for vendor, app in APPS.items()
        }
        (folder / "vendors.json").write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


def sqlite_dump(file: Path) -> str:
    """Return the statements that make a SQLite file anew."""
    with closing(sqlite3.connect(file)) as held:
        numbers = [
            f"PRAGMA {name} = {held.execute(f'PRAGMA {name}').fetchone()[0]};"
            for name in ("application_id", "user_version")
        ]
        return "\n".join([*held.iterdump(), *numbers, ""])


@contextmanager
def database():
    """Yield the URL of a PostgreSQL database of our own."""
    with serving() as server:
        yield f"host={server} user=postgres dbname=postgres"


def postgres_dump(url: str) -> str:
    """Return the statements that make the schema `reconciler` anew."""
    migrations = resources.files("reconciler.stores") / "migrations/postgres"
    steps = sorted((step.name, step.read_text("utf-8")) for step in migrations.iterdir())
    lines = ["CREATE SCHEMA reconciler;", "SET search_path TO reconciler;", *(s for _, s in steps)]
    with psycopg.connect(url) as held:
        held.execute("SET search_path TO reconciler")
        tables = re.findall(r"(?m)^CREATE TABLE (\w+)", "\n".join(lines))
        for table in tables:
            rows = held.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            for row in sorted(rows.fetchall(), key=str):
                values = ", ".join(sql.Literal(cell).as_string(held) for cell in row)
                lines.append(f"INSERT INTO {table} VALUES ({values});")
    return "\n".join([*lines, ""])


def migrations() -> dict[str, str]:
    """Return the digest of every migration's text, by its name."""
    folder = ROOT / "reconciler/stores/migrations"
    return {
        file.relative_to(folder).as_posix(): sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*.sql"))
    }


def shared(folder: Path, root: Path, state: str, url: str = "") -> None:
    """Play the story with the state in another place."""
    with running(Settings(rate=0)) as endpoint:
        place = world(root, endpoint, folder)
        elsewhere(place, state, url)
        story(folder, place, whole=False)


def elsewhere(place: World, state: str, url: str = "") -> None:
    """Keep the state of a workspace in another place."""
    place.environ["STATE_URL"] = url
    file = place.root / "reconciler.yaml"
    file.write_text(f"{file.read_text()}state: {state}\n")


def main() -> None:
    """Write the folder of this version anew."""
    folder = FOLDER / __version__
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "reconciler.yaml").write_text(WORKSPACE, encoding="utf-8")
    (folder / "accounts.yaml").write_text(AFTER, encoding="utf-8")
    (folder / "migrations.json").write_text(json.dumps(migrations(), indent=1) + "\n")
    os.environ.pop("CI", None)
    socket.gethostname = lambda: "runner-1"  # what is kept names no machine of ours
    with tempfile.TemporaryDirectory() as name:
        with running(Settings(rate=0)) as endpoint:
            place = world(Path(name, "local"), endpoint, folder)
            story(folder, place, whole=True)
            state = place.root / ".reconciler/state.db"
            (folder / "state.sql").write_text(sqlite_dump(state), encoding="utf-8")
            shutil.copy(f"{state}.high-water", folder / "high-water.json")
            applied = place.run("apply", str(folder / "plan.json"), "--json")
            assert applied.code == 0, applied.err
            (folder / "events.jsonl").write_text(applied.out, encoding="utf-8")
            told = place.run("state", "history", "--json").out
            (folder / "history.jsonl").write_text(told, encoding="utf-8")
        with database() as url:
            shared(folder, Path(name, "rows"), "{backend: postgres, url: env:STATE_URL}", url)
            (folder / "postgres.sql").write_text(postgres_dump(url), encoding="utf-8")
        bucket = Path(name, "bucket")
        shared(folder, Path(name, "document"), f'{{backend: object, url: "file://{bucket}"}}')
        shutil.copy(bucket / "state.json", folder / "document.json")


if __name__ == "__main__":
    main()
