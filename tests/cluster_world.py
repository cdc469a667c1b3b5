"""A workspace whose state is in PostgreSQL, with an emulated vendor for each of its apps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from reconciler.__main__ import main
from reconciler.stores import postgres_place
from tests.shared_emulator import control, emulating
from tests.world import World

APP = (
    "  {name}: {{type: yunxin, endpoint: {endpoint}, rate: {rate}, credentials: "
    "{{app_key: env:APP_KEY, app_secret: env:APP_SECRET}}}}\n"
)
LIMITS = "{count: 1000, percent: 100}"


@dataclass
class Cluster(World):
    """Apps `a`, `b`, … of one workspace; every account is in all of them."""

    apps: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    rate: int = 2000
    state: str = ""

    def workspace(self, more: str = "", name: str = "many") -> None:
        """Write reconciler.yaml."""
        self.environ["STATE_URL"] = self.url
        apps = (APP.format(name=one, endpoint=at, rate=self.rate) for one, at in self.apps.items())
        state = f"state: {{backend: postgres, url: env:STATE_URL{self.state}}}\n"
        self.write(
            "reconciler.yaml",
            f"version: 1\nworkspace: {name}\n{state}providers:\n{''.join(apps)}"
            f"limits: {{block: {LIMITS}, unblock: {LIMITS}, forget: {LIMITS}, "
            f"update: {{percent: 100}}}}\n{more}",
        )

    def declare(self, *accounts: str) -> None:
        """Write the accounts, each as a line of YAML, in every app."""
        lines = "".join(f"  {one}\n" for one in accounts)
        apps = ", ".join(self.apps)
        text = f"defaults: {{provider: [{apps}]}}\naccounts:\n{lines}"
        self.write("accounts/team.yaml", text if accounts else "accounts: {}\n")

    def calls(self, app: str) -> list[dict[str, Any]]:
        """Return the requests that an app's vendor has had."""
        found: list[dict[str, Any]] = control(self.apps[app], "requests")["requests"]
        return found

    def told(self, app: str) -> list[tuple[str, str]]:
        """Return API and account of each request that changed something at an app, sorted."""
        calls = [call for call in self.calls(app) if call["mutated"]]
        return sorted((call["api"], id) for call in calls for id in call["account_ids"])

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Return rows of the queue's own schema."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET search_path TO reconciler_queue")
            return connection.execute(query.encode()).fetchall()


def impatient() -> None:
    """Be the command, but give a database that is gone no ten seconds to come back."""
    postgres_place._AGAIN_SECONDS = 0.1  # type: ignore[misc]
    main()


@contextmanager
def clustered(root: Path, url: str, apps: str = "a") -> Iterator[Cluster]:
    """Run a vendor for each letter, and yield a workspace of them."""
    with ExitStack() as stack:
        endpoints = {name: stack.enter_context(emulating()) for name in apps}
        yield Cluster(root, next(iter(endpoints.values())), apps=endpoints, url=url)
