"""A workspace and an emulated vendor for tests that use the command line as people do."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from reconciler import transport
from reconciler.cli import run
from tests.forks import Child, forking

WORKSPACE = """\
version: 1
workspace: {name}
providers:
  cn-prod:
    type: yunxin
    endpoint: {endpoint}
    credentials: {{app_key: env:APP_KEY, app_secret: env:APP_SECRET}}
    rate: 2000
secrets: {{allow: ["env:IM_TOKEN_*", "file:secrets/*"]}}
{more}
"""


@dataclass(frozen=True)
class Result:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The result as one JSON value."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The result as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> str:
        """The last line of the result."""
        return self.out.rstrip("\n").rpartition("\n")[2]


@dataclass
class World:
    """A folder with a workspace, and the vendor its provider points to."""

    root: Path
    endpoint: str
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environ = {
            "PATH": os.environ["PATH"],
            "APP_KEY": "demo-app-key",
            "APP_SECRET": "demo-app-secret",
            "IM_TOKEN_A": "first-login-token",
        }
        self.workspace()

    def workspace(self, more: str = "", name: str = "test-im") -> None:
        """Write reconciler.yaml."""
        self.write(
            "reconciler.yaml", WORKSPACE.format(name=name, endpoint=self.endpoint, more=more)
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file of the workspace."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def accounts(self, text: str, name: str = "team") -> None:
        """Write an account file; `text` is what stands beneath `accounts:`."""
        body = "".join(f"  {line}\n" for line in text.strip("\n").split("\n"))
        self.write(f"accounts/{name}.yaml", f"accounts:\n{body}")

    def run(self, *words: str, stdin: str | None = None) -> Result:
        """Run a command in this process, as the entry point would, but trying again soon."""
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.object(sys, "stdin", io.StringIO(stdin or "")),
            patch.object(transport, "_BACKOFF", 0.01),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(["--chdir", str(self.root), *words], self.environ)
        return Result(int(code), out.getvalue(), err.getvalue())

    def start(self, *words: str, **how: Any) -> Child:
        """Start a command as a process of its own, bent as `fork_server.py` knows how."""
        return forking().start(["--chdir", str(self.root), *words], self.environ, **how)

    def process(self, *words: str) -> Result:
        """Run a command as a process of its own to its end."""
        child = self.start(*words)
        return Result(child.wait(), child.out, child.err)

    def control(self, path: str, body: Any = None, method: str = "GET") -> Any:
        """Ask or tell the emulator."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/_emulator/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def vendor(self, account_id: str) -> dict[str, Any]:
        """Return what the vendor holds of an account."""
        held: dict[str, Any] = self.control(f"accounts/yunxin/demo-app-key/{account_id}")
        return held

    def console(self, account_id: str, **fields: Any) -> None:
        """Change an account as the vendor's console would."""
        self.control(f"accounts/yunxin/demo-app-key/{account_id}", fields, "PATCH")

    def seed(self, *account_ids: str) -> None:
        """Register accounts at the vendor, behind the reconciler's back."""
        body = {"accounts": [{"account_id": one, "profile": {"name": one}} for one in account_ids]}
        self.control("accounts/yunxin/demo-app-key", body, "PUT")

    def faults(self, *faults: dict[str, Any]) -> None:
        """Script what the vendor does wrong."""
        self.control("faults", list(faults), "POST")

    def mutations(self) -> list[dict[str, Any]]:
        """Return the calls so far that changed something at the vendor."""
        calls: list[dict[str, Any]] = self.control("requests")["requests"]
        return [call for call in calls if call["mutated"]]

    def serial(self) -> int:
        """Return the serial of the recorded state."""
        return int(self.run("state", "pull").json["serial"])
