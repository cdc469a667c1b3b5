"""Guards GD1 to GD9 through the command line: what would hurt many accounts is refused whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_inputs import Untouched, harmless, put, refused

from reconciler.transport import Transport
from tests.shared_emulator import emulating
from tests.world import World

CROWD = [f"u{n}" for n in range(10)]


def crowd(*left: str, more: str = "") -> str:
    """Return the accounts of the crowd without some, each with `more` fields."""
    return "\n".join(
        f"{one}: {{profile: {{name: {one}}}{more}}}" for one in CROWD if one not in left
    )


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with emulating() as endpoint:
        world = World(tmp_path_factory.mktemp("crowd"), endpoint)
        world.accounts(crowd())
        assert world.run("apply", "--auto-approve").code == 0
        yield world


@pytest.fixture
def world(applied: World, tmp_path: Path) -> Iterator[World]:
    """Ten recorded accounts in a folder of their own."""
    shutil.copytree(applied.root, tmp_path / "workspace")
    world = World(tmp_path / "workspace", applied.endpoint)
    yield world
    world.control("faults", method="DELETE")
    for one in CROWD:
        world.console(one, enabled=True, profile={"name": one})


def stopped(world: World, code: int, *lines: str, flags: tuple[str, ...] = ()) -> None:
    """Assert that plan and apply refuse alike, and that nothing happens."""
    with Untouched(world):
        refused(world, ("plan", *flags), code, *lines)
        refused(world, ("apply", "--auto-approve", *flags), code, *lines)


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        pytest.param("", 4, "no account is desired and 10 are recorded", id="GD1-no-bytes"),
        pytest.param("# gone\n", 4, "no account is desired", id="GD1-comment-only"),
        pytest.param("accounts: {}\n", 4, "no account is desired", id="GD1-no-accounts"),
        pytest.param("defaults: {adopt: true}\n", 4, "no account is desired", id="GD1-defaults"),
        pytest.param("accounts: null\n", 1, "null is no value.", id="GD1-null"),
        pytest.param("accounts: []\n", 1, "A mapping is expected here.", id="GD1-list"),
        pytest.param(None, 4, "No account file matches accounts/**/*.yaml.", id="GD1-no-file"),
    ],
)
def test_nothing_desired_is_refused(world: World, content, code, says) -> None:
    """An empty set against a state that is not is a wrong path or a failed checkout, not a wish."""
    file = world.root / "accounts/team.yaml"
    file.unlink()
    if content is not None:
        put(world.root, "accounts/team.yaml", content)
    stopped(world, code, says, "    hint: ")


def test_gd1_an_empty_set_needs_the_exact_override(world: World) -> None:
    """The override names the exact number, and no other number opens it."""
    put(world.root, "accounts/team.yaml", "accounts: {}\n")
    stopped(world, 4, "--allow forget=10")
    for wrong in ("9", "11", "1000000"):
        stopped(world, 4, flags=("--allow", f"forget={wrong}"))
    before = world.mutations()
    assert world.run("apply", "--auto-approve", "--allow", "forget=10").code == 0
    assert world.mutations() == before
    assert world.run("state", "list").out == ""


@pytest.mark.parametrize("gone", [4, 6, 9], ids=lambda n: f"GD2-{n}-of-10")
def test_a_shrunken_set_is_refused(world: World, gone: int) -> None:
    """More accounts leaving than the limit is exit 4, with their number; nobody is dropped."""
    world.accounts(crowd(*CROWD[:gone]))
    stopped(world, 4, f"the plan would forget {gone} accounts, the limit is 3")


@pytest.mark.parametrize("small", [4, 10], ids=lambda n: f"GD3-{n}-recorded")
def test_blocks_over_the_limit_are_refused_in_any_size(world: World, small: int) -> None:
    """There is no size of workspace below which the guard is off: four blocks are one too many."""
    others = CROWD[small:]
    if others:
        world.accounts(crowd(*others))
        allow = ("--allow", f"forget={len(others)}")
        assert world.run("apply", "--auto-approve", *allow).code == 0
    banned = crowd(*others).replace("}}", "}, banned: true}", 4)
    world.accounts(banned)
    stopped(world, 4, "the plan would block 4 accounts, the limit is 3")
    stopped(world, 4, "--allow block=3 is another number", flags=("--allow", "block=3"))
    assert all(world.vendor(one)["enabled"] for one in CROWD)


def test_gd4_leaving_asks_nothing_of_the_vendor(world: World) -> None:
    """An account that left the YAML is dropped from state; the vendor hears nothing of it."""
    world.accounts(crowd("u0"))
    before = world.mutations()
    assert world.run("apply", "--auto-approve").code == 0
    assert world.mutations() == before
    assert world.vendor("u0")["enabled"]
    assert "cn-prod/u0" not in world.run("state", "list").out


@pytest.mark.parametrize(
    ("count", "code"), [(3, 4), (5, 4), (4000, 4), (4, 0)], ids=lambda n: f"GD5-{n}"
)
def test_an_override_is_the_exact_count(world: World, count: int, code: int) -> None:
    """`--allow block=N` opens the limit for exactly N blocks."""
    world.accounts(crowd().replace("}}", "}, banned: true}", 4))
    flags = ("--allow", f"block={count}")
    if code:
        stopped(world, code, flags=flags)
    else:
        assert world.run("plan", *flags).code == 0


def test_gd6_another_app_is_refused(world: World) -> None:
    """Credentials of another app are exit 6 before a vendor is asked anything."""
    world.environ["APP_KEY"] = "another-app-key"
    world.accounts(crowd().replace("name: u0", "name: Other"))
    with Untouched(world):
        for words in (("apply", "--auto-approve"), ("drift",), ("refresh",)):
            refused(world, words, 6, "now points to another app")


@pytest.mark.parametrize(
    "fault",
    ["html", "empty", "garbage", "truncated", "wrong_account", "duplicate_keys", "close", "code"],
    ids=lambda fault: f"GD7-{fault}",
)
def test_a_reading_that_fails_deletes_nobody(world: World, monkeypatch, fault: str) -> None:
    """An answer that is empty, cut or of somebody else never means that accounts are gone."""
    # Retries come at once; how long they rest is a matter of the transport's own tests.
    monkeypatch.setattr(Transport, "_rest", lambda self, seconds: True)
    apis = ("get", "batch_get", "profile_get", "profile_batch_get")
    scripted = {"fault": fault, "code": 500, "times": None}
    world.faults(*({"match": {"api": api}, **scripted} for api in apis))
    before = world.mutations(), world.run("state", "pull").json["accounts"]

    ended = {word: world.run(*word.split()) for word in ("drift", "plan --refresh", "refresh")}
    world.control("faults", method="DELETE")

    harmless(*ended.values())
    assert ended["drift"].code == 1
    assert "missing  cn-prod" not in ended["drift"].out
    assert "create" not in ended["plan --refresh"].out
    assert (world.mutations(), world.run("state", "pull").json["accounts"]) == before
    assert world.run("drift").code == 0


@pytest.mark.parametrize(
    ("accounts", "says"),
    [
        pytest.param(
            crowd(more=", protected: true").replace("true}", "true, banned: true}", 1),
            "cn-prod/u0 is protected, so the plan may not block it",
            id="GD9-block",
        ),
        pytest.param(
            crowd("u0", more=", protected: true"),
            "cn-prod/u0 is protected, so the plan may not forget it",
            id="GD9-forget",
        ),
        pytest.param(
            crowd().replace("name: u0}", "name: u0}, banned: true", 1),
            "cn-prod/u0 is protected, so the plan may not block it",
            id="GD9-lifted-and-blocked-at-once",
        ),
    ],
)
def test_a_protected_account_is_never_hurt(world: World, accounts: str, says: str) -> None:
    """Protection is recorded, so no YAML and no override blocks or drops the account at once."""
    world.accounts(crowd(more=", protected: true"))
    assert world.run("apply", "--auto-approve").code == 0
    world.accounts(accounts)
    stopped(world, 4, says)
    stopped(world, 4, says, flags=("--allow", "block=1", "--allow", "forget=1"))
    assert world.vendor("u0")["enabled"]
