"""Bad inputs 103 to 112: plan, snapshot, state and secret files that are not what they seem."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import Untouched, calls, one, put, refused

from reconciler.changes import fingerprint, from_json
from reconciler.values import canonical, digest
from tests.world import World

pytest_plugins = ["spoilt_workspace"]

TWO = "kept: {profile: {name: Kept}}\nnext: {profile: {name: Next}}"


class Attack:
    """Writes a file into its folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def planned(world: World) -> Path:
    """Return a plan file that creates one account."""
    world.accounts(TWO, "aaa")
    file = world.root.parent / "next.plan.json"
    assert world.run("plan", "--out", str(file)).code == 0
    return file


def sealed(told: dict[str, Any], *, deep: bool = False) -> bytes:
    """Return the bytes of an edited plan, sealed anew by somebody who knows the format."""
    told = {key: value for key, value in told.items() if key != "digest"}
    if deep:
        told["fingerprint"] = fingerprint(from_json(action) for action in told["actions"])
        creates = sum(action["action"] == "create" for action in told["actions"])
        told["summary"] = {**told["summary"], "create": creates}
    return canonical({**told, "digest": f"sha256:{digest(canonical(told)).hex()}"}) + b"\n"


def extra(told: dict[str, Any]) -> dict[str, Any]:
    """Return a plan with one account more."""
    more = {**told["actions"][0], "address": "cn-prod/evil", "account_id": "evil"}
    return {**told, "actions": sorted([more, *told["actions"]], key=lambda a: a["address"])}


def zipped() -> bytes:
    """Return an archive whose member wants to be written above its folder."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("../../slipped", "x")
        archive.writestr("plan.json", "{}")
    return held.getvalue()


PLANS: dict[str, Callable[[bytes, Path], bytes]] = {
    "103-pickle": lambda _, root: pickle.dumps(Attack(root / "mark")),
    "104-zip": lambda _, root: zipped(),
    "105-extra-action": lambda data, _: canonical(extra(json.loads(data))) + b"\n",
    "105-extra-action-sealed": lambda data, _: sealed(extra(json.loads(data))),
    "109-duplicate-key": lambda data, _: data.replace(b'{"', b'{"serial":0,"', 1),
    "109-duplicate-key-within": lambda data, _: data.replace(
        b'"after":"Next"', b'"after":"Evil","after":"Next"'
    ),
    "109-empty": lambda *_: b"",
    "109-not-a-number": lambda data, _: data.replace(b'"serial":1', b'"serial":NaN'),
    "109-byte-order-mark": lambda data, _: b"\xef\xbb\xbf" + data,
    "109-utf-16": lambda data, _: data.decode().encode("utf-16"),
    "109-deep": lambda *_: b"[" * 100_000,
    "109-long-number": lambda data, _: data.replace(b'"serial":1', b'"serial":' + b"9" * 5000),
    "109-wrong-types": lambda data, _: sealed(
        {**json.loads(data), "actions": 7, "cost": [], "diagnostics": "x"}
    ),
    "109-text-as-serial": lambda data, _: sealed({**json.loads(data), "serial": "one"}),
    "109-list-as-workspace": lambda data, _: sealed({**json.loads(data), "workspace": ["test-im"]}),
    "109-number-as-boundary": lambda data, _: sealed({**json.loads(data), "boundary": 7}),
    "109-text-as-boundary": lambda data, _: sealed({**json.loads(data), "boundary": "soon"}),
    "109-text-as-cost": lambda data, _: sealed(
        {**json.loads(data), "cost": {"cn-prod": {"calls": 1, "seconds": "one"}}}
    ),
    "109-number-as-path": lambda data, _: sealed(
        {
            **json.loads(data),
            "actions": [
                {**action, "changes": [{"path": 7, "before": None, "after": "x"}]}
                for action in json.loads(data)["actions"]
            ],
        },
    ),
}


@pytest.mark.parametrize("spoil", PLANS.values(), ids=PLANS)
def test_what_is_no_plan_is_refused(spoilt: World, spoil) -> None:
    """A file that this tool did not write as it stands is exit 6, at show and at apply."""
    file = planned(spoilt)
    file.write_bytes(spoil(file.read_bytes(), spoilt.root.parent))
    before = sorted(spoilt.root.parent.iterdir())
    with Untouched(spoilt):
        for command in ("show", "apply"):
            refused(spoilt, (command, str(file)), 6, f"error: {file} is not a usable plan file\n")
    assert sorted(spoilt.root.parent.iterdir()) == before


def test_105_a_plan_forged_throughout_is_not_the_reviewed_one(spoilt: World) -> None:
    """Who can seal a plan anew still cannot keep its fingerprint, which `--expect` compares."""
    file = planned(spoilt)
    told = json.loads(file.read_bytes())
    file.write_bytes(sealed(extra(told), deep=True))
    with Untouched(spoilt):
        refused(
            spoilt,
            ("apply", str(file), "--expect", told["fingerprint"]),
            6,
            "error: the plan is not the expected one\n",
        )


def test_106_a_plan_of_another_state(spoilt: World) -> None:
    """A plan made against another lineage is exit 6, though everything else fits."""
    file = planned(spoilt)
    told = json.loads(file.read_bytes())
    file.write_bytes(sealed({**told, "lineage": "00000000-0000-0000-0000-000000000000"}))
    with Untouched(spoilt):
        refused(spoilt, ("apply", str(file)), 6, "it was made against another state")


def test_107_a_plan_of_an_account_that_moved(spoilt: World) -> None:
    """A plan older than its account is exit 6; what happened to other accounts is no reason."""
    file = planned(spoilt)
    held = spoilt.root / ".reconciler"
    shutil.copytree(held, spoilt.root.parent / "older")
    spoilt.accounts(TWO.replace("Next", "Other"), "aaa")
    assert spoilt.run("apply", "--auto-approve").code == 0
    with Untouched(spoilt):
        refused(spoilt, ("apply", str(file)), 6, "cn-prod/next was changed by another run")


def test_107_an_older_snapshot_and_an_older_state(spoilt: World) -> None:
    """A snapshot of a lower serial is not pushed, and a state file copied back is refused."""
    older = spoilt.root.parent / "older.json"
    older.write_text(spoilt.run("state", "pull").out)
    kept = (spoilt.root / ".reconciler/state.db").read_bytes()
    spoilt.accounts("kept: {profile: {name: Kept}, labels: {a: b}}", "aaa")
    assert spoilt.run("apply", "--auto-approve").code == 0
    with Untouched(spoilt):
        refused(
            spoilt, ("state", "push", str(older), "--auto-approve"), 1, "has serial 1, recorded"
        )
    for suffix in ("-wal", "-shm"):
        (spoilt.root / f".reconciler/state.db{suffix}").unlink(missing_ok=True)
    (spoilt.root / ".reconciler/state.db").write_bytes(kept)
    before = calls(spoilt)
    for words in (("plan",), ("apply", "--auto-approve"), ("state", "pull")):
        refused(spoilt, words, 1, "older")
    assert calls(spoilt) == before


def test_108_a_plan_whose_ban_has_ended(spoilt: World) -> None:
    """A plan that relies on a ban which ended since is exit 6 and names the moment."""
    spoilt.accounts("kept: {profile: {name: Kept}, banned: {until: 2021-01-01T00:00:00Z}}", "aaa")
    file = str(spoilt.root.parent / "ban.plan.json")
    assert spoilt.run("plan", "--as-of", "2020-06-01", "--out", file).code == 0
    with Untouched(spoilt):
        refused(spoilt, ("apply", file), 6, "a ban that it relies on ended at 2021-01-01T00:00:00Z")


SNAPSHOTS: dict[str, Callable[[bytes], bytes]] = {
    "103-pickle": lambda data: pickle.dumps({"accounts": []}),
    "104-zip": lambda data: zipped(),
    "105-edited": lambda data: data.replace(b'"Kept"', b'"Evil"'),
    "109-duplicate-key": lambda data: data.replace(b'{"accounts"', b'{"serial":9,"accounts"', 1),
    "109-empty": lambda data: b"",
    "109-cut": lambda data: data[: len(data) // 2],
    "109-deep": lambda data: b'{"accounts":' * 50_000,
}


@pytest.mark.parametrize("spoil", SNAPSHOTS.values(), ids=SNAPSHOTS)
def test_what_is_no_snapshot_is_refused(spoilt: World, spoil) -> None:
    """It is exit 1 wherever a snapshot is read, and the state stays as it was."""
    file = spoilt.root.parent / "state.json"
    file.write_bytes(spoil(spoilt.run("state", "pull").out.encode()))
    with Untouched(spoilt):
        for words in (
            ("plan", "--state", str(file)),
            ("state", "push", str(file), "--auto-approve"),
            ("state", "restore", str(file), "--auto-approve"),
        ):
            refused(spoilt, words, 1, f"error: {file} is not a usable snapshot\n")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_secrets(path: Path) -> None:
    path.symlink_to("/etc/passwd")


SPECIAL: dict[str, Callable[[Path], object]] = {
    "110-fifo": os.mkfifo,
    "110-dev-zero": lambda path: path.symlink_to("/dev/zero"),
    "110-link-outside": link_to_secrets,
    "110-link-to-itself": link_to_itself,
    "110-folder": os.mkdir,
}


@pytest.mark.parametrize("lay", SPECIAL.values(), ids=SPECIAL)
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("show",), 6),
        (("apply",), 6),
        (("plan", "--state"), 1),
        (("state", "push", "--auto-approve"), 1),
        (("state", "restore", "--auto-approve"), 1),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_only_a_plain_file_is_read(spoilt: World, lay, words, code) -> None:
    """A pipe, a device, a folder or a link where a plan or a snapshot is named is not opened."""
    path = spoilt.root.parent / "given.json"
    lay(path)
    with Untouched(spoilt):
        refused(spoilt, (*words, str(path)), code, f"error: {path} cannot be read\n", "    hint: ")


@pytest.mark.parametrize("lay", SPECIAL.values(), ids=SPECIAL)
def test_only_a_plain_account_file_is_read(spoilt: World, lay) -> None:
    """The same in the place of an account file, where a folder is simply no file."""
    path = spoilt.root / "accounts/bad.yaml"
    lay(path)
    if path.is_dir():
        assert spoilt.run("validate").code == 0
        return
    for words in (("validate",), ("apply", "--auto-approve")):
        refused(spoilt, words, 1, "accounts/bad.yaml: error: ", "    hint: ")


@pytest.mark.parametrize("lay", SPECIAL.values(), ids=SPECIAL)
def test_only_a_plain_workspace_file_is_read(spoilt: World, lay) -> None:
    """The same in the place of the workspace file; nothing of what a link leads to is told."""
    path = spoilt.root / "reconciler.yaml"
    path.unlink()
    lay(path)
    ended = refused(spoilt, ("validate",), 1, "error: ", "reconciler.yaml", "    hint: ")
    assert "root" not in ended.err.replace(str(spoilt.root), "")


@pytest.mark.parametrize("lay", SPECIAL.values(), ids=SPECIAL)
def test_only_a_plain_state_file_is_opened(spoilt: World, lay) -> None:
    """The same in the place of the state, which is never taken as empty."""
    for file in (spoilt.root / ".reconciler").glob("state.db*"):
        file.unlink()
    lay(spoilt.root / ".reconciler/state.db")
    before = calls(spoilt)
    for words in (("plan",), ("apply", "--auto-approve")):
        refused(spoilt, words, 1, "state.db")
    assert calls(spoilt) == before


@pytest.mark.parametrize("lay", SPECIAL.values(), ids=SPECIAL)
def test_a_plan_is_never_written_into_something_else(spoilt: World, lay) -> None:
    """`--out` replaces no pipe, device, folder or link."""
    path = spoilt.root.parent / "given.json"
    lay(path)
    refused(spoilt, ("plan", "--out", str(path)), 1, f"error: {path} cannot be written\n")
    assert not path.is_file() or path.is_symlink()


def world_readable(path: Path) -> None:
    path.write_text("login-token-of-next")
    path.chmod(0o644)


SECRETS = {**SPECIAL, "111-world-readable": world_readable}


@pytest.mark.parametrize("lay", SECRETS.values(), ids=SECRETS)
def test_an_unfit_secret_file_sends_nothing(spoilt: World, lay) -> None:
    """A secret is read from a private plain file only; that account fails and no call is made."""
    (spoilt.root / "secrets").mkdir(mode=0o700)
    lay(spoilt.root / "secrets/next")
    spoilt.accounts("unsent: {token: {from: file:secrets/next}}")
    before = spoilt.mutations()

    assert spoilt.run("validate").code == 0
    assert spoilt.run("plan").code == 0
    ended = refused(spoilt, ("apply", "--auto-approve"), 3, "file:secrets/next")

    assert spoilt.mutations() == before
    assert "login-token-of-next" not in ended.out + ended.err
    if lay is world_readable:
        assert "chmod 600 secrets/next" in ended.err


def test_111_an_unfit_credential_is_told_before_anything(spoilt: World) -> None:
    """A provider's own secret in a file that everyone reads stops the run, with the remedy."""
    put(spoilt.root, "secrets/app", "demo-app-secret")
    (spoilt.root / "secrets/app").chmod(0o644)
    path = spoilt.root / "reconciler.yaml"
    path.write_text(path.read_text().replace("env:APP_SECRET", "file:secrets/app"))
    spoilt.accounts("unsent: {}")
    before = calls(spoilt)
    ended = spoilt.run("apply", "--auto-approve")
    assert ended.code != 0
    assert "chmod 600 secrets/app" in ended.err
    assert "demo-app-secret" not in ended.out + ended.err
    assert calls(spoilt) == before


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("env:APP_SECRET", "env:APP_SECRET belongs to the workspace's own secrets."),
        ("file:/proc/self/environ", "The path is absolute."),
        ("file:secrets/../../../proc/self/environ", "leaves its folder."),
        ("env:PATH", "secrets.allow has no entry for env:PATH."),
        ("'cmd:[\"id\"]'", "Account files cannot run commands."),
        ("hunter2", "A token is written out here."),
        ("file:reconciler.yaml", "secrets.allow has no entry for file:reconciler.yaml."),
    ],
)
def test_112_a_reference_that_is_not_for_account_files(spoilt: World, reference, says) -> None:
    """Another's secret, the process itself and commands are refused where they are written."""
    put(spoilt.root, "accounts/bad.yaml", one(f"token: {{from: {reference}}}"))
    with Untouched(spoilt):
        for words in (("validate",), ("apply", "--auto-approve")):
            ended = refused(spoilt, words, 1, "accounts/bad.yaml:2:23: error: ", says)
    assert "hunter2" not in ended.err


def test_112_everything_allowed_allows_no_credential(spoilt: World) -> None:
    """However wide `secrets.allow` is, a provider's credential stays out of reach."""
    path = spoilt.root / "reconciler.yaml"
    path.write_text(path.read_text().replace('"env:IM_TOKEN_*"', '"env:*"'))
    put(spoilt.root, "accounts/bad.yaml", one("token: {from: env:APP_SECRET}"))
    refused(spoilt, ("validate",), 1, "belongs to the workspace's own secrets.")


def test_110_a_pipe_with_a_writer_is_not_waited_for(spoilt: World) -> None:
    """A pipe that somebody writes into without end is refused like one that nobody does."""
    path = spoilt.root.parent / "given.json"
    os.mkfifo(path)
    handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    stop = threading.Event()

    def feed() -> None:
        while not stop.is_set():
            try:
                os.write(handle, b"{" * 4096)
            except BlockingIOError:
                stop.wait(0.01)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        refused(spoilt, ("apply", str(path)), 6, "It is no regular file.")
    finally:
        stop.set()
        feeder.join()
        os.close(handle)
