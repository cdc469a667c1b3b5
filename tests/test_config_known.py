"""Files that were read before: a plan says what it would say had it read them all."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from config_capabilities import BOTH, TABLES
from config_files import write
from config_random import files
from core_accounts import NOW, question
from core_store import RUN, Memory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.accounts import Address
from reconciler.cli import run
from reconciler.config import desired, known, load, stream
from reconciler.errors import ReconcilerError
from reconciler.planfile import encode
from reconciler.planning import alike, plan
from reconciler.snapshot import decode as decode_snapshot
from reconciler.snapshot import encode as encode_snapshot
from reconciler.state import Intent, Record
from reconciler.values import to_moment

WORKSPACE = BOTH.replace("**/*.yaml", "**/*")
MANY = "accounts:\n" + "".join(
    f"  u{n}: {{provider: cn, profile: {{name: Somebody}}, labels: {{n: '{n}'}}}}\n"
    for n in range(99)
)


GLOBS = BOTH.replace(
    "- accounts/**/*.yaml",
    "- {files: accounts/*.y*ml, defaults: {labels: {deep: glob}, provider: cn}}\n"
    "  - {files: accounts/c*, adopt: true}",
)
REASONS = BOTH + "lint: {folded-id: error}\nban_reasons: {spam: {}}\n"


def told(root: Path, recorded, moment, environ=None):
    """Return all that a plan says, as bytes; read anew without an environment, else as known."""
    warnings = []
    try:
        workspace = load(root, capabilities=TABLES.get)
        tables = {name: TABLES[app.type] for name, app in workspace.apps.items()}
        accounts = desired(workspace, tables, warnings, cache=environ)
        chain = recorded.identity().chain
        asked = question(
            as_of=moment,
            capabilities=tables,
            again=accounts.again,
            alike=accounts.alike(chain),
        )
        made = plan(accounts.batches(), recorded, asked)
        if alike(made) and not warnings:
            accounts.keep_alike(chain, made.as_of)
    except ReconcilerError as failed:
        return b"", [*failed.diagnostics], warnings
    return encode(made, "1.0"), [*made.diagnostics], warnings


def outside(root: Path) -> dict[str, str]:
    """Return an environment whose cache folder is no part of a checkout around `root`."""
    return {"XDG_CACHE_HOME": str(root / "cache")}


@pytest.fixture(autouse=True)
def everywhere(monkeypatch):
    """Small files are kept too, and a cache beside the workspace is taken for the user's own."""
    monkeypatch.setattr(known, "LEAST", 1)
    monkeypatch.setattr(known, "MANY", 1)
    monkeypatch.setattr(stream, "BATCH", 3)
    monkeypatch.setattr(known, "_apart", lambda *_: True)


@settings(max_examples=70, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            files(),
            st.sampled_from([WORKSPACE, BOTH, WORKSPACE + "on_absent: block\n", GLOBS, REASONS]),
        ),
        min_size=1,
        max_size=3,
    ),
    st.lists(st.integers(0, 400), max_size=5),
    st.booleans(),
    st.sampled_from([1, 300, 600]),
)
def test_what_is_known_changes_nothing(tmp_path_factory, monkeypatch, edits, gone, late, least):
    """Over edits of files, settings, records and time, plans are byte for byte those of reading.

    `least` bytes has a file of which something is kept.
    """
    monkeypatch.setattr(known, "LEAST", least)
    root = tmp_path_factory.mktemp("w")
    environ = outside(tmp_path_factory.mktemp("c"))
    recorded = Memory()
    for made, workspace in edits:
        for old in root.glob("accounts/*"):
            if late:
                old.unlink()
        write(root, made, workspace)
        plain = told(root, recorded, NOW)
        assert told(root, recorded, NOW, environ) == plain
        assert told(root, recorded, NOW, environ) == plain
        if plain[0]:
            adopt(root, recorded, gone)
        for moment in (NOW, NOW + timedelta(days=30)):  # some bans end in between
            assert told(root, recorded, moment, environ) == told(root, recorded, moment)


def adopt(root, recorded, gone):
    """Record what is desired, but for some accounts, as if it had been applied."""
    workspace = load(root, capabilities=TABLES.get)
    tables = {name: TABLES[app.type] for name, app in workspace.apps.items()}
    made = [
        Record(one.address, document := one.written(), "ban" in document)
        for one in desired(workspace, tables, [])
    ]
    recorded.save([one for n, one in enumerate(made) if n not in gone], (), "import")


def entries(cache: Path) -> list[Path]:
    return [file for file in cache.rglob("*") if file.is_file()]


@pytest.fixture
def scene(tmp_path):
    """A workspace of 99 accounts that was read, all of it recorded but the last account."""
    root = tmp_path / "w"
    write(root, {"accounts/a.yaml": MANY}, WORKSPACE)
    environ = outside(tmp_path)
    recorded = Memory()
    adopt(root, recorded, {98})
    told(root, recorded, NOW, environ)
    (entry,) = entries(tmp_path / "cache")
    return root, recorded, environ, entry


@pytest.fixture
def looks(scene, monkeypatch):
    """Plan as known, like a plan that reads all; tell whether it asked the state for its index."""
    root, recorded, environ, _ = scene
    asked = []
    index = recorded.index
    monkeypatch.setattr(recorded, "index", lambda: asked.append(1) or index())

    def looks_(moment=NOW) -> bool:
        plain = told(root, recorded, moment)
        asked.clear()
        assert told(root, recorded, moment, environ) == plain
        return bool(asked)

    return looks_


def test_what_was_alike_is_not_looked_at_again(scene, looks):
    """Same files against the same state: no account is read, till the state or the time is another.

    Nor where an earlier plan had anything to do or to tell.
    """
    root, recorded, _, _ = scene
    assert looks()
    assert looks()
    adopt(root, recorded, ())
    assert looks()
    assert not looks()
    recorded.save([], [Address("cn/u7")], "state rm")
    assert looks()
    assert looks()
    text = MANY.replace("u5: {", "u5: {banned: {until: 2027-01-20T00:00:00Z}, ")
    (root / "accounts/a.yaml").write_text(text)
    adopt(root, recorded, ())
    assert looks()
    assert not looks()
    assert looks(NOW + timedelta(days=30))
    assert not looks()
    recorded.begin(RUN)
    recorded.intend([Intent("i-1", RUN.id, Address("cn/u5"), {"action": "update", "changes": []})])
    assert looks()


def test_a_small_state_is_read_and_verified_each_time(scene, looks, monkeypatch):
    """Where little would be saved, damage to what is recorded is found by the next plan."""
    root, recorded, _, _ = scene
    monkeypatch.setattr(known, "MANY", 100)
    adopt(root, recorded, ())
    assert looks()
    assert looks()


def test_of_files_that_changed_only_their_accounts_are_compared(scene, looks):
    """Added, changed, split, removed: of a file is recorded what it said when all was alike."""
    root, recorded, environ, _ = scene
    more = MANY.replace("  u", "  w")
    (root / "accounts/b.yaml").write_text(more)
    adopt(root, recorded, ())
    assert looks()
    (root / "accounts/b.yaml").write_text(more.replace("Somebody", "Another", 3))
    assert not looks()
    half = more.index("  w50")
    (root / "accounts/b.yaml").write_text(more[:half])
    assert not looks()
    (root / "accounts/c.yaml").write_text("accounts:\n" + more[half:])
    assert not looks()
    (root / "accounts/c.yaml").write_text("accounts:\n  new: {provider: cn}\n" + more[half:])
    assert not looks()
    (root / "accounts/b.yaml").unlink()
    assert not looks()
    (root / "accounts/c.yaml").write_text("accounts:\n" + more[half:] + "  u5: {provider: cn}\n")
    assert not looks()
    (root / "accounts/c.yaml").write_text("accounts:\n  w1: {provider: cn")
    assert not looks()
    (root / "accounts/c.yaml").unlink()
    assert not looks()
    for entry in entries(Path(environ["XDG_CACHE_HOME"])):
        if b"cn/w" in entry.read_bytes():
            entry.unlink()
    assert looks()


@pytest.mark.parametrize("how", ["small", "gone", "gone meanwhile", "shared"])
def test_what_is_not_kept_of_a_file_that_did_not_change_is_no_news(scene, looks, monkeypatch, how):
    """Beside a changed file, accounts of one that is not kept are neither new nor looked at."""
    root, recorded, environ, _ = scene
    few = "accounts:\n  small: {provider: cn, banned: true}\n"
    (root / "accounts/b.yaml").write_text(few)
    if how in ("small", "shared"):
        monkeypatch.setattr(known, "LEAST", 100)
    if how == "shared":
        monkeypatch.setattr(stream, "LEAST", 1)
    adopt(root, recorded, ())
    assert looks()
    kept = [one for one in entries(Path(environ["XDG_CACHE_HOME"])) if b"small" in one.read_bytes()]
    assert bool(kept) == (how not in ("small", "shared"))
    if how == "gone":
        kept[0].unlink()
    if how == "gone meanwhile":
        get = known.Known.get
        monkeypatch.setattr(
            known.Known, "get", lambda me, of, key: None if "b.y" in of.file else get(me, of, key)
        )
    (root / "accounts/a.yaml").write_text(MANY.replace("Somebody", "Another", 1))
    assert not looks()


def test_a_file_that_changes_after_it_was_told_to_be_the_same(scene, looks, monkeypatch):
    """What is no more than was compared by its bytes is an error, not taken for what it was."""
    root, recorded, environ, _ = scene
    few = "accounts:\n  small: {provider: cn}\n"
    (root / "accounts/b.yaml").write_text(few)
    monkeypatch.setattr(known, "LEAST", 100)
    adopt(root, recorded, ())
    assert looks()
    (root / "accounts/a.yaml").write_text(MANY.replace("Somebody", "Another", 1))
    same = stream.Desired.alike

    def edited(me, chain):
        kept = same(me, chain)
        (root / "accounts/b.yaml").write_text(few.replace("cn", "cn, banned: true"))
        return kept

    monkeypatch.setattr(stream.Desired, "alike", edited)
    plan_, findings, _ = told(root, recorded, NOW, environ)
    assert not plan_
    assert [one.id for one in findings] == ["changed"]


@pytest.mark.parametrize("how", ["small", "gone", "spoilt"])
def test_an_unchanged_file_that_is_read_all_the_same_brings_nothing_new(
    scene, looks, how, monkeypatch
):
    """Too small to be kept, or its entry gone or spoilt meanwhile: its accounts are recorded ones.

    As new ones they would be created, and blocked, again.
    """
    root, recorded, environ, _ = scene
    more = root / "accounts/b.yaml"
    more.write_text("accounts: {w1: {provider: cn, banned: true}, w2: {provider: cn}}\n")
    if how == "small":
        monkeypatch.setattr(known, "LEAST", 200)
    adopt(root, recorded, ())
    assert looks()
    (root / "accounts/a.yaml").write_text(MANY.replace("Somebody", "Another", 1))
    for entry in entries(Path(environ["XDG_CACHE_HOME"])):
        if b"cn/w" in entry.read_bytes() and how == "spoilt":
            entry.write_bytes(entry.read_bytes()[:-1])
        elif b"cn/w" in entry.read_bytes():
            monkeypatch.setattr(known.Known, "get", _without(known.Known.get, more.name))
    assert not looks()


def _without(get, name):
    """Return what gets entries of files, but for that one, which somebody has just removed."""
    return lambda self, found, key: None if found.file.endswith(name) else get(self, found, key)


def test_a_ban_that_had_ended_stands_at_a_moment_before(scene):
    """With `--as-of`, or on a clock that was set back, a ban is planned for a time before its end.

    That the files were alike was found when it had ended.
    """
    root, recorded, environ, _ = scene
    text = MANY.replace("u5: {", "u5: {banned: {until: 2026-01-20T00:00:00Z}, ")
    (root / "accounts/a.yaml").write_text(text)
    adopt(root, recorded, ())
    (lifted,) = recorded.records([Address("cn/u5")])
    recorded.save([replace(lifted, banned=False)], (), "import")
    late, early = to_moment("2026-01-21T00:00:00Z"), to_moment("2026-01-19T00:00:00Z")
    assert b'"block":0' in told(root, recorded, late, environ)[0]
    assert told(root, recorded, early, environ) == told(root, recorded, early)
    assert b'"block":1' in told(root, recorded, early, environ)[0]


def test_nothing_personal_is_kept(scene):
    """An entry is private and holds addresses, lines and digests, but no value of a field."""
    root, _, environ, entry = scene
    assert b"cn/u98" in entry.read_bytes()
    assert b"Somebody" not in entry.read_bytes()
    for place in (entry, entry.parent, entry.parent.parent):
        assert not place.stat().st_mode & 0o077
    assert not [*root.rglob("*reconciler known*")]
    assert environ


def lie(entry: Path) -> bytes:
    """Return the entry of a file by which the last account is another than it is written."""
    body = entry.read_bytes()[len(known._HEAD) + 32 :].replace(b"cn/u98", b"cn/u99")
    return known._HEAD + sha256(body).digest() + body


SPOILT = {
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "flipped": lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
    "empty": lambda data: b"",
    "foreign": lambda data: b"SQLite format 3\0" * 99,
    "older": lambda data: data.replace(b"known 1", b"known 0"),
}


@pytest.mark.parametrize("how", [*SPOILT, "open", "link", "renamed", "fifo", "gone"])
def test_an_entry_that_is_not_ours_is_ignored(scene, how, monkeypatch):
    """Cut, flipped, foreign, readable by others, linked or under another name: read anew."""
    root, recorded, environ, entry = scene
    plain = told(root, recorded, NOW)
    data = entry.read_bytes()
    get = known.Known.get
    believed = []
    monkeypatch.setattr(
        known.Known, "get", lambda *a, **k: believed.append(found := get(*a, **k)) or found
    )
    told(root, recorded, NOW, environ)
    assert believed.pop()
    entry.unlink()
    if how in SPOILT:
        entry.write_bytes(SPOILT[how](data))
        entry.chmod(0o600)
    elif how == "open":
        entry.write_bytes(data)
        entry.chmod(0o640)
    elif how == "link":
        (root / "laid").write_bytes(data)
        (root / "laid").chmod(0o600)
        entry.symlink_to(root / "laid")
    elif how == "fifo":
        os.mkfifo(entry, 0o600)
    elif how == "renamed":
        # It would say of the file of now what another one held.
        (root / "accounts/a.yaml").write_text(MANY.replace("Somebody", "Another", 1))
        plain = told(root, recorded, NOW)
        told(root, recorded, NOW, environ)
        (fresh,) = entries(entry.parent)
        fresh.write_bytes(data)
        believed.clear()
    assert told(root, recorded, NOW, environ) == plain
    assert believed in ([], [None])


def test_a_lie_is_believed_in_the_own_folder_only(scene):
    """The tests above bite: what lies in the user's own folder, whole and private, is believed."""
    root, recorded, environ, entry = scene
    plain = told(root, recorded, NOW)
    entry.write_bytes(lie(entry))
    assert told(root, recorded, NOW, environ) != plain


def place(root: Path, environ, monkeypatch, home: Path):
    monkeypatch.undo()
    monkeypatch.setattr(known.pwd, "getpwuid", lambda _: type("", (), {"pw_dir": str(home)}))
    return known.place(load(root, capabilities=TABLES.get), environ)


@pytest.mark.parametrize(
    ("workspace", "environ", "used"),
    [
        ("home/ws", {"HOME": "home"}, True),
        ("srv/repo/ws", {"HOME": "home"}, True),
        ("srv/repo/ws", {"HOME": "home", "XDG_CACHE_HOME": "var/cache"}, True),
        ("home/ws", {"HOME": "home/ws"}, False),
        ("home/ws", {"HOME": "home", "XDG_CACHE_HOME": "home/ws/.cache"}, False),
        ("srv/repo/ws", {"HOME": "srv/repo"}, False),
        ("srv/repo/ws", {"HOME": "home", "XDG_CACHE_HOME": "srv/repo/.cache"}, False),
        ("srv/repo/ws", {"HOME": "home", "XDG_CACHE_HOME": "link/.cache"}, False),
        ("checkout/home/ws", {"HOME": "checkout/home"}, False),
        ("home/ws", {}, False),
        ("home/ws", {"HOME": ""}, False),
    ],
)
def test_a_cache_that_a_checkout_may_hold_is_not_used(
    tmp_path, monkeypatch, workspace, environ, used
):
    """Within the workspace or any folder around both but the home and those above: no cache."""
    root = tmp_path / workspace
    write(root, {}, WORKSPACE)
    (tmp_path / "link").symlink_to(tmp_path / "srv/repo")
    (tmp_path / "checkout/.git").mkdir(parents=True)
    environ = {name: str(tmp_path / value) if value else "" for name, value in environ.items()}
    home = tmp_path / ("checkout/home" if "checkout" in workspace else "home")
    found = place(root, environ, monkeypatch, home)
    assert bool(found) is used
    if found:
        assert found.name == "prod-im"


def cli(root, environ, *words):
    environ = {"YUNXIN_APP_KEY": "k", "YUNXIN_APP_SECRET": "s", **environ}
    return run(["--chdir", str(root), *words], environ)


def test_no_cache_reads_and_keeps_nothing(scene, capsys):
    """With `--no-cache`, also from the environment, the cache is neither read nor written."""
    root, _, environ, entry = scene
    entry.unlink()
    assert cli(root, environ, "plan", "--no-cache") == 0
    assert cli(root, {**environ, "RECONCILER_CLI_ARGS_plan": "--no-cache"}, "plan") == 0
    assert not entries(entry.parent)
    assert cli(root, environ, "plan") == 0
    assert entries(entry.parent)
    assert "Plan: 99 to create" in capsys.readouterr().out


def test_a_snapshot_teaches_nothing(scene, tmp_path, capsys):
    """A snapshot with the chain of a state and other accounts: no plan of the state heeds it."""
    root, recorded, environ, _ = scene
    file = tmp_path / "state.json"

    def plans(*more: str) -> str:
        assert cli(root, environ, "plan", *more) == 0
        return capsys.readouterr().out

    file.write_bytes(b"".join(encode_snapshot(recorded)))
    assert cli(root, environ, "state", "push", str(file), "--auto-approve") == 0
    capsys.readouterr()
    assert cli(root, environ, "state", "pull") == 0
    pulled = decode_snapshot(capsys.readouterr().out.encode(), "pulled")
    adopt(root, recorded, ())
    forged = {record.address: record for record in recorded.everything()}
    file.write_bytes(b"".join(encode_snapshot(replace(pulled, accounts=forged))))
    assert "No changes." in plans("--state", str(file))
    assert "Plan: 1 to create" in plans()
    assert pulled.who.chain


def test_where_nothing_can_be_kept_nothing_is(scene, capsys):
    """A cache folder that is a file, or not of this user alone, is done without."""
    root, recorded, environ, entry = scene
    plain = told(root, recorded, NOW)
    entry.unlink()
    entry.parent.chmod(0o777)
    assert told(root, recorded, NOW, environ) == plain
    assert not entries(entry.parent)
    entry.parent.rmdir()
    entry.parent.write_text("a file")
    assert told(root, recorded, NOW, environ) == plain


def test_what_is_not_used_goes_first(scene, monkeypatch):
    """Beyond the bound the entries that were not used for longest are removed."""
    root, recorded, environ, entry = scene
    os.utime(entry, (1, 1))
    monkeypatch.setattr(known, "MOST", 2 * entry.stat().st_size)
    for n in range(3):
        (root / "accounts/a.yaml").write_text(MANY.replace("Somebody", f"Person {n}"))
        told(root, recorded, NOW, environ)
    left = entries(entry.parent)
    assert entry not in left
    assert 1 <= len(left) <= 2


def test_tokens_are_looked_at_each_time(scene):
    """With a key for fingerprints a file that holds a token is read each time."""
    root, recorded, environ, entry = scene
    entry.unlink()
    write(
        root,
        {
            "accounts/a.yaml": MANY
            + "  t: {provider: cn, token: {from: env:IM_TOKEN_A, version: 1}}\n"
        },
        WORKSPACE.replace("secrets: {", "secrets: {fingerprint_key: env:KEY, "),
    )
    told(root, recorded, NOW, environ)
    assert not entries(entry.parent)
    write(root, {}, WORKSPACE)
    told(root, recorded, NOW, environ)
    assert entries(entry.parent)


def test_a_file_that_changes_meanwhile_is_an_error(scene, monkeypatch):
    """An account whose file is another when it is read again is not planned from what was known."""
    root, recorded, environ, _ = scene
    plain = told(root, recorded, NOW)
    assert told(root, recorded, NOW, environ) == plain
    workspace = load(root, capabilities=TABLES.get)
    tables = {name: TABLES[app.type] for name, app in workspace.apps.items()}
    accounts = desired(workspace, tables, [], cache=environ)
    last = [one for batch in accounts.batches() for one in batch.accounts()][-1:]
    (root / "accounts/a.yaml").write_text(MANY.replace("u98:", "u97b:"))
    with pytest.raises(ReconcilerError, match="was changed while it was read"):
        list(accounts.again(last))


def test_runs_at_once_do_no_harm(tmp_path):
    """Several plans that keep the same file at once leave one whole entry."""
    write(tmp_path / "w", {"accounts/a.yaml": MANY * 1}, WORKSPACE)
    environ = outside(tmp_path)
    code = (
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[1:3];"
        "from reconciler.config import known; known.LEAST = 1; known._apart = lambda *_: True;"
        "from reconciler.cli import run; import os;"
        "sys.exit(run(['--chdir', sys.argv[3], 'plan'], os.environ))"
    )
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(tmp_path / "w")]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, *paths],
            stdout=subprocess.PIPE,
            env={**os.environ, **environ, "YUNXIN_APP_KEY": "k", "YUNXIN_APP_SECRET": "s"},
        )
        for _ in range(4)
    ]
    outs = {one.communicate()[0].splitlines()[-1] for one in runs}
    assert outs == {b"Plan: 99 to create, 0 to update, 0 to block, 0 to unblock, 0 to forget."}
    (entry,) = entries(tmp_path / "cache")
    data = entry.read_bytes()
    assert data[len(known._HEAD) :][:32] == sha256(data[len(known._HEAD) + 32 :]).digest()
