"""Did you mean: who writes a name a little wrong is told the right one, in files and arguments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from config_capabilities import BOTH
from config_files import read, write

from reconciler.session.targets import nearest
from tests.shared_emulator import emulating
from tests.world import World

A = "accounts:\n"
RULE = "rules: [{{id: a, when: {{action: [block], match: {{{}: x}}}}, deny: No.}}]\n"


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        ("on_absnt: block\n", "did you mean on_absent?"),
        ("on_absent: frget\n", "did you mean forget?"),
        ("limits: {blok: {count: 1}}\n", "did you mean block?"),
        ("state: {backend: sqlit}\n", "did you mean sqlite?"),
        ("state: {backend: http, adress: x}\n", "did you mean address?"),
        ("notify: [{webhook: env:A, format: feisu}]\n", "did you mean feishu?"),
        (RULE.format("label.tier"), "did you mean labels?"),
        (RULE.format("profile.nam"), "did you mean profile.name?"),
        (RULE.format("configuration.p2p_chat_baned"), "p2p_chat_banned?"),
        (RULE.format("banned.tiket"), "did you mean banned.ticket?"),
        (RULE.format("acount_id"), "did you mean account_id?"),
        (RULE.format("whatever"), "choose from: account_id, address, banned, banned.…"),
        (RULE.format("labels"), "name a field of it: labels.…"),
        (RULE.format("x").replace("block", "blok"), "did you mean block?"),
        (RULE.format("path").replace("deny", "denny"), "did you mean deny?"),
    ],
)
def test_in_the_workspace_file(tmp_path, more, hint):
    """Keys, choices, and what rules look at."""
    write(tmp_path, {"accounts/a.yaml": f"{A}  a: {{provider: cn}}\n"}, BOTH + more)
    assert any(hint in one.hint for one in read(tmp_path).errors), read(tmp_path).errors


@pytest.mark.parametrize(
    ("key", "wrong", "hint"),
    [
        ("type: yunxin", "type: yunxn", "did you mean yunxin?"),
        ("region: china", "region: chna", "did you mean china?"),
        ("app_key:", "app_ky:", "did you mean app_key?"),
        ("type: yunxin", "type: yunxin\n    concurency: 3", "did you mean concurrency?"),
    ],
)
def test_in_a_provider(tmp_path, key, wrong, hint):
    """Vendors, their regions, credentials and settings."""
    write(tmp_path, {"accounts/a.yaml": "accounts: {}\n"}, BOTH.replace(key, wrong, 1))
    assert hint in [one.hint for one in read(tmp_path).errors]


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("bannd: true", "did you mean banned?"),
        ("provider: cm", "did you mean cn?"),
        ("profile: {nmae: x}", "did you mean name?"),
        ("profile: {gender: femal}", "did you mean female?"),
        ("provider: sg, profile: {allow_type: alow_any}", "did you mean allow_any?"),
        ("banned: {reson: x}", "did you mean reason?"),
        ("configuration: {p2p_chat_baned: true}", "did you mean p2p_chat_banned?"),
        ("token: {form: env:IM_TOKEN_A}", "did you mean from?"),
        ("token: {generate: vendr, sink: file:secrets/a}", "did you mean vendor?"),
        ("manage: {profil: always}", "did you mean profile?"),
        ("on_absent: blok", "did you mean block?"),
    ],
)
def test_in_an_account(tmp_path, field, hint):
    """Keys and choices of accounts."""
    own = field if "provider" in field else f"provider: cn, {field}"
    write(tmp_path, {"accounts/a.yaml": f"{A}  a: {{{own}}}\n"}, BOTH)
    assert hint in [one.hint for one in read(tmp_path).errors]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two recorded accounts, one more that is only written."""
    with emulating() as endpoint:
        world = World(tmp_path_factory.mktemp("did-you-mean"), endpoint)
        world.accounts("support-bot: {profile: {name: S}}\nbilling: {}")
        assert world.run("apply", "--auto-approve").code == 0
        world.accounts("support-bot: {profile: {name: T}}\nbilling: {}\nnewcomer: {}")
        yield world


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("plan --target cn-prod/suport-bot", 64, "neither written nor recorded"),
        ("plan --target cn-prod/new-comer", 64, "did you mean cn-prod/newcomer?"),
        ("plan --target suport-bot", 64, "did you mean cn-prod/support-bot?"),
        ("plan --target cn-prd/support-bot", 64, "did you mean cn-prod/support-bot?"),
        ("apply --auto-approve --target cn-prod/suport-bot", 64, "cn-prod/support-bot?"),
        ("drift --target cn-prod/bilings", 64, "did you mean cn-prod/billing?"),
        ("drift --target cn-prod/newcomer", 64, "cn-prod/newcomer is not recorded"),
        ("refresh --target cn-prod/biling", 64, "did you mean cn-prod/billing?"),
        ("state show cn-prod/biling", 1, "did you mean cn-prod/billing?"),
        ("state rm cn-prod/biling --auto-approve", 1, "did you mean cn-prod/billing?"),
        ("state mv cn-prod/biling cn-prod/b --auto-approve", 1, "cn-prod/billing?"),
        ("state history cn-prod/biling", 1, "did you mean cn-prod/billing?"),
        ("state show cn-prod/zzzzzzzz", 1, "see: reconciler state list"),
        ("erase cn-prod/biling --auto-approve", 1, "did you mean cn-prod/billing?"),
        ("import cn-prod/biling", 1, "did you mean cn-prod/billing?"),
    ],
)
def test_of_an_address(world: World, words: str, code: int, told: str) -> None:
    """An address that no account has is refused with the nearest one, and nothing is done."""
    ended = world.run(*words.split())
    assert ended.code == code
    assert told in ended.err


def test_a_target_that_exists_is_planned(world: World) -> None:
    """Written, recorded, or a provider: those are targets."""
    for target, last in (
        ("cn-prod/newcomer", "1 to create, 0 to update"),
        ("support-bot", "0 to create, 1 to update"),
        ("cn-prod", "1 to create, 1 to update"),
    ):
        assert last in world.run("plan", "--target", target).last
    assert world.run("plan", "--target", "billing").last.startswith("No changes.")


def test_the_nearest_among_very_many_is_found_at_once(tmp_path: Path) -> None:
    """One of very many addresses is compared with as many as a moment allows, near ones first."""
    known = [f"cn/user-{n:07}" for n in range(200_000)] + ["cn/support-bot"]
    assert nearest("cn/suport-bot", known) == "cn/support-bot"
    assert nearest("cn/support-bott", known) == "cn/support-bot"
    assert nearest("cn/xyz", known) == ""


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("paln", "did you mean plan?"),
        ("state mve a b", "did you mean mv?"),
        ("plan --format htm", "did you mean html?"),
        ("plan --alow block=3", "did you mean --allow?"),
        ("state list --jsn", "did you mean --json?"),
        ("state --json list", "it stands behind the command: reconciler state list --json"),
        ("state backup --json", "see: reconciler state backup --help"),
        ("plan --log-level debug", "it stands before the command: reconciler --log-level …"),
        ("plan --chdir=im", "it stands before the command: reconciler --chdir …"),
        ("plan extra", "see: reconciler plan --help"),
        ("zzz", "choose from: apply, demo, drift, "),
    ],
)
def test_on_the_command_line(tmp_path: Path, line: str, hint: str) -> None:
    """Commands, their parts, choices and flags; what stands in a wrong place is told the right."""
    ended = World(tmp_path, "http://127.0.0.1:9").run(*line.split())
    assert (ended.code, ended.out) == (64, "")
    assert f"    hint: {hint}" in ended.err
    assert len(ended.err.splitlines()) == 2


def test_an_id_that_is_none_is_not_told_how_it_would_be_kept(tmp_path):
    """Of an id that the vendor does not take it is said once what is wrong."""
    write(tmp_path, {"accounts/a.yaml": f"{A}  Order Bot: {{provider: cn}}\n"}, BOTH)
    found = read(tmp_path)
    assert (found.ids, found.warnings) == (["bad-id"], [])
