"""What releases wrote is read by this version: state, plans, snapshots, and what programs read.

Each folder of `golden/released` was written by that release (`golden_released.py`). The promise
that is proved here stands in `.github/CONTRIBUTING.md`.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator

from reconciler import __version__, planfile, snapshot
from reconciler.cli import run
from reconciler.config import schema_text
from reconciler.views.json import UI
from tests.golden_released import APPS, FOLDER, elsewhere, migrations, world
from tests.shared_emulator import emulating
from tests.world import World

pytest.register_assert_rewrite("store_conformance")

from store_postgres import database as database  # noqa: E402

RELEASES = sorted(path for path in FOLDER.iterdir() if path.is_dir())


def told(file: Path) -> Any:
    """Return the JSON in a file."""
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request: pytest.FixtureRequest) -> Path:
    """The folder of a release."""
    folder: Path = request.param
    return folder


@pytest.fixture
def kept(release: Path, tmp_path: Path) -> Iterator[World]:
    """That release's workspace, its SQLite file, and vendors that hold what they held."""
    with emulating() as endpoint:
        place = world(tmp_path / "workspace", endpoint, release)
        for vendor, accounts in told(release / "vendors.json").items():
            place.control(f"accounts/{APPS[vendor]}", {"accounts": accounts}, "PUT")
        state = place.root / ".reconciler/state.db"
        state.parent.mkdir(mode=0o700)
        with closing(sqlite3.connect(state)) as made:
            made.executescript((release / "state.sql").read_text(encoding="utf-8"))
        state.chmod(0o600)
        shutil.copy(release / "high-water.json", f"{state}.high-water")
        yield place


def planned(place: World, *words: str) -> Any:
    """Return a plan, made anew."""
    ended = place.run("plan", "--json", *words)
    assert ended.code == 0, ended.err
    return ended.json


def test_its_state_is_whole_and_planned_as_it_planned(kept: World, release: Path) -> None:
    """Every seal holds, the snapshot is the same, and so is the fingerprint of the plan."""
    plan = told(release / "plan.json")
    assert kept.run("state", "verify").code == 0
    again = planned(kept)
    assert (again["fingerprint"], again["summary"]) == (plan["fingerprint"], plan["summary"])
    before, now = told(release / "snapshot.json"), kept.run("state", "pull").json
    for was, one in zip(before["accounts"], now["accounts"], strict=True):
        assert {key: one.get(key) for key in was} == was
    assert now["lineage"] == before["lineage"]
    assert kept.run("state", "history").code == 0


def test_its_saved_plan_is_applied(kept: World, release: Path) -> None:
    """The plan is shown and done, bound to its fingerprint, and then there is nothing to do."""
    file, plan = release / "plan.json", told(release / "plan.json")
    assert kept.run("show", str(file), "--json").json["summary"] == plan["summary"]

    ended = kept.run("apply", str(file), "--expect", plan["fingerprint"])

    assert ended.code == 0, ended.err
    assert kept.run("plan").last.startswith("No changes.")
    assert kept.run("drift").code == 0
    blocked = [one["account_id"] for one in plan["actions"] if one["action"] == "block"]
    assert len(blocked) == 2
    assert not any(kept.vendor(one)["enabled"] for one in blocked)


def test_its_snapshots_are_planned_against_and_pushed(kept: World, release: Path) -> None:
    """Whole or redacted they are planned against, and an empty workspace takes the whole one."""
    plan = told(release / "plan.json")
    whole = str(release / "snapshot.json")
    assert planned(kept, "--state", whole)["fingerprint"] == plan["fingerprint"]
    assert planned(kept, "--state", str(release / "redacted.json"))["summary"]["block"] == 2
    shutil.rmtree(kept.root / ".reconciler")

    assert kept.run("state", "push", whole, "--auto-approve").code == 0

    assert planned(kept)["fingerprint"] == plan["fingerprint"]


@pytest.mark.parametrize(
    ("name", "schema"),
    [("plan.json", "plan"), ("events.jsonl", "events"), ("history.jsonl", "history")],
)
def test_what_programs_read_still_fits_the_schema(release: Path, name: str, schema: str) -> None:
    """A reader that follows today's schema takes what that release printed."""
    validator = Draft202012Validator(json.loads(schema_text(schema)))
    lines = (release / name).read_text(encoding="utf-8").splitlines()
    assert lines
    for line in lines:
        validator.validate(json.loads(line))


def test_its_migrations_are_as_they_were(release: Path) -> None:
    """The text of a migration that was released is never changed; there may be more of them."""
    was = told(release / "migrations.json")
    assert {name: migrations().get(name) for name in was} == was


def test_its_postgresql_schema_is_planned_as_it_planned(
    release: Path, database: str, tmp_path: Path
) -> None:
    """The tables and rows that it left in PostgreSQL are read, whole, and planned against."""
    with psycopg.connect(database, autocommit=True) as made:
        made.execute((release / "postgres.sql").read_bytes())
    place = world(tmp_path, "http://127.0.0.1:9", release)
    elsewhere(place, "{backend: postgres, url: env:STATE_URL}", database)

    assert place.run("state", "verify").code == 0
    assert planned(place)["fingerprint"] == told(release / "plan.json")["fingerprint"]


def test_its_document_is_planned_as_it_planned(release: Path, tmp_path: Path) -> None:
    """The document that it left in object storage, as behind HTTP, is read and planned against."""
    bucket = tmp_path / "bucket"
    bucket.mkdir(mode=0o700)
    shutil.copy(release / "document.json", bucket / "state.json")
    place = world(tmp_path / "workspace", "http://127.0.0.1:9", release)
    elsewhere(place, f'{{backend: object, url: "file://{bucket}"}}')

    assert place.run("state", "verify").code == 0
    assert planned(place)["fingerprint"] == told(release / "plan.json")["fingerprint"]


def test_the_promise_names_the_numbers_in_force() -> None:
    """The page on compatibility, `version --json` and the code tell the same numbers."""
    page = (FOLDER.parents[2] / ".github/CONTRIBUTING.md").read_text(encoding="utf-8")
    (sqlite, postgres) = (
        sum(name.startswith(kind) for name in migrations()) for kind in ("sqlite/", "postgres/")
    )
    assert sqlite == postgres
    for number in (
        f"| `format_version` {planfile.FORMAT} |",
        f"| `version` {snapshot.VERSION} |",
        f"| `ui` {UI} |",
        f"the newest migration, {sqlite} |",
    ):
        assert number in page, number
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert run(["version", "--json"], {}) == 0
    told = json.loads(printed.getvalue())
    assert (told["plan_format"], told["snapshot_version"]) == (planfile.FORMAT, snapshot.VERSION)
    assert __version__ in {path.name for path in RELEASES}
