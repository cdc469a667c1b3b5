"""Workspaces, accounts and vendors that the benchmarks measure on."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.state import Store

WORKSPACE = """\
version: 1
workspace: bench
providers:
  cn-prod:
    type: yunxin
    endpoint: {endpoint}
    credentials: {{app_key: env:APP_KEY, app_secret: env:APP_SECRET}}
    rate: 100000
    concurrency: {threads}
"""

TENCENT = """\
version: 1
workspace: bench
providers:
  cn-prod:
    type: tencent
    endpoint: {endpoint}
    credentials: {{sdk_app_id: "1400000000", admin: administrator, secret_key: env:SECRET_KEY}}
    rate: {rate}
    concurrency: {threads}
accounts: ["accounts/**/*"]
"""

ENVIRON = {
    "APP_KEY": "demo-app-key",
    "APP_SECRET": "demo-app-secret",
    "SECRET_KEY": "demo-secret-key",
}

MOST = 250_000
"""Accounts in one file; a file has at most 256 MiB."""


def account(number: int) -> dict[str, Any]:
    """Return what every benchmark writes of an account."""
    return {
        "provider": "cn-prod",
        "profile": {
            "name": f"客服 {number}",
            "avatar": f"https://cdn.example.com/{number}.png",
            "sign": "hello",
            "email": f"u{number}@example.com",
        },
        "banned": False,
        "configuration": {"p2p_chat_banned": False, "team_chat_banned": True},
        "labels": {"team": "support"},
    }


def accounts(path: Path, count: int, first: int = 0) -> None:
    """Write an account file of this many accounts, in YAML about 30 events each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + count)
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            for number in numbers:
                told = {"id": f"user-{number:07}", **account(number)}
                file.write(json.dumps(told, ensure_ascii=False) + "\n")
        elif path.suffix == ".csv":
            rows = (_flat(f"user-{number:07}", account(number)) for number in numbers)
            for position, row in enumerate(rows):
                if not position:
                    writer = csv.DictWriter(file, list(row))
                    writer.writeheader()
                writer.writerow(row)
        else:
            file.write("accounts:\n")
            file.writelines(map(_yaml, numbers))


def _yaml(number: int) -> str:
    return (
        f"  user-{number:07}:\n"
        f"    provider: cn-prod\n"
        f"    profile: {{name: 客服 {number}, avatar: https://cdn.example.com/{number}.png, "
        f"sign: hello, email: u{number}@example.com}}\n"
        "    banned: false\n"
        "    configuration:\n"
        "      p2p_chat_banned: false\n"
        "      team_chat_banned: true\n"
        "    labels: {team: support}\n"
    )


def _flat(id: str, told: Mapping[str, Any]) -> dict[str, str]:
    row = {"id": id}
    for name, value in told.items():
        for key, inner in (value if isinstance(value, dict) else {"": value}).items():
            text = str(inner).lower() if isinstance(inner, bool) else inner
            row[f"{name}.{key}".rstrip(".")] = text
    return row


def workspace(
    root: Path, count: int, suffix: str = ".yaml", files: int = 0, text: str = WORKSPACE
) -> Path:
    """Write a workspace of this many accounts, in as few files as may be or in so many."""
    root.mkdir(parents=True, exist_ok=True)
    size = -(-count // files) if files else min(count, MOST)
    for number, first in enumerate(range(0, count, size)):
        accounts(root / f"accounts/{number:04}{suffix}", min(size, count - first), first)
    settings = text.format(endpoint="http://127.0.0.1:9", threads=1, rate=100)
    if "accounts:" not in settings:
        settings += f"accounts: [accounts/*{suffix}]\n"
    (root / "reconciler.yaml").write_text(settings)
    return root


def reconciler(root: Path, *words: str) -> list[str]:
    """Return the command line of a reconciler command."""
    return [sys.executable, "-P", "-m", "reconciler", "--chdir", str(root), *words]


def record(
    root: Path, environ: dict[str, str] | None = None, known: Mapping[str, Any] | None = None
) -> None:
    """Record every desired account as applied, without a vendor."""
    from reconciler.config import desired, load
    from reconciler.providers import capabilities
    from reconciler.state import Holder, Record, Run

    loaded = load(root, capabilities=capabilities)
    tables = {name: capabilities(app.type) for name, app in loaded.apps.items()}
    store = opened(root, environ or {})
    holder = Holder("bench", socket.gethostname(), os.getpid(), "bench")
    with store.lock(holder) as writer:
        writer.begin(Run("bench", "bench", "2026-01-01T00:00:00Z"))
        if known:
            writer.bind(known)
        stream = desired(loaded, tables, [])
        for batch in stream.batches():
            records = [Record(one.address, one.written(), banned=False) for one in batch.accounts()]
            writer.save(records, (), "bench")
        stream.close()
    store.close()


def opened(root: Path, environ: Mapping[str, str]) -> Store:
    """Open the state of a workspace."""
    from reconciler.config import load
    from reconciler.providers import capabilities
    from reconciler.stores import open_store
    from reconciler.stores.keys import Keys

    loaded = load(root, capabilities=capabilities)
    return open_store(
        loaded.state,
        root,
        loaded.name,
        resolve=lambda one: environ[one.target],
        keys=Keys(loaded.state.encryption, lambda one: environ[one.target]),
    )


@contextmanager
def emulator(*words: str) -> Iterator[str]:
    """Run an unthrottled emulator as a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "reconciler", "emulator", "--rate", "0", *words],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().removeprefix("listening on ")
        finally:
            process.terminate()
