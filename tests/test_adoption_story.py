"""Adopting an app that has users already: the README's section as one story, smaller."""

from __future__ import annotations

from pathlib import Path

from tests.shared_emulator import emulating
from tests.world import World

COUNT = 400


def test_an_app_with_users_is_adopted(tmp_path: Path) -> None:
    """Import, change ten by review, apply, find a console edit and pull it back: nothing is lost.

    At the vendor just the ten changes are made; at the end YAML, state and vendor agree.
    """
    with emulating() as endpoint:
        world = World(tmp_path, endpoint)
        users = [
            {
                "account_id": f"user-{n:03}",
                "profile": {"name": f"User {n}", **({"sign": "hi"} if n % 3 else {})},
                "enabled": n % 50 != 0,
            }
            for n in range(COUNT)
        ]
        world.control("accounts/yunxin/demo-app-key", {"accounts": users}, "PUT")
        world.write("ids.csv", "id,note\n" + "".join(f"{one['account_id']},x\n" for one in users))

        imported = world.run("import", "--from", "ids.csv", "--write", "accounts/users.yaml")
        adopted = world.run("plan").last
        path = world.root / "accounts/users.yaml"
        text = path.read_text()
        for n in range(1, 9):
            text = text.replace(f"name: User {n}, sign", f"name: Changed {n}, sign")
            text = text.replace(f"name: User {n}}}", f"name: Changed {n}}}")
        text = text.replace("  user-101:\n", "  user-101:\n    banned: {reason: spam}\n")
        text = text.replace("  user-102:\n", "  user-102:\n    banned: {reason: spam}\n")
        path.write_text(text)
        world.run("fmt", "accounts")
        reviewed = world.run("plan", "--out", "next.plan.json")
        applied = world.run("apply", "next.plan.json")
        changed = {one["account_ids"][0] for one in world.mutations()}

        world.console("user-042", profile={"name": "Console: edit"}, enabled=False)
        found = world.run("drift")
        refreshed = world.run("refresh")
        before = path.read_text()
        pulled = world.run("pull", "--write")
        last = (
            world.run("plan").last,
            world.run("drift").code,
            world.run("fmt", "--check", "accounts"),
        )

        assert (imported.code, imported.out) == (
            0,
            f"Import: {COUNT} recorded, 0 failed.\n"
            f"{COUNT} accounts written to accounts/users.yaml.\n",
        )
        assert adopted == f"No changes. {COUNT} accounts as recorded."
        assert reviewed.last == (
            "Plan: 0 to create, 8 to update, 2 to block, 0 to unblock, 0 to forget."
        )
        assert applied.code == 0
        assert len(changed) == 10
        assert (found.code, refreshed.code) == (2, 0)
        assert pulled.out.endswith("Pulled: 2 fields of 1 account.\n")
        mended = 'user-042:\n    profile: {name: "Console: edit"}\n    banned: true\n'
        assert path.read_text() == before.replace(
            "user-042:\n    profile: {name: User 42}\n", mended
        )
        assert last[:2] == (adopted, 0)
        assert last[2].code == 0
        assert len({one["account_ids"][0] for one in world.mutations()}) == 10
