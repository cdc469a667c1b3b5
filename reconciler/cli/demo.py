"""demo: the whole story on loopback, each command as a user would type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent, indent

from reconciler.cli.console import Console
from reconciler.errors import ConfigError, ReconcilerError
from reconciler.exits import Exit

_WORKSPACE = """\
version: 1
workspace: demo
providers:
  cn-prod:
    type: yunxin
    endpoint: {endpoint}
    credentials: {{app_key: env:YUNXIN_APP_KEY, app_secret: env:YUNXIN_APP_SECRET}}
secrets: {{allow: ["env:IM_TOKEN_*"]}}
"""

_ACCOUNTS = """\
accounts:
  support-bot:
    protected: true
    profile: {name: Support, email: support@example.com}
    token: {from: env:IM_TOKEN_SUPPORT, version: 1}
  alice:
    profile: {name: Alice}
  mallory:
    profile: {name: Mallory}
"""

_EDITED = """\
accounts:
  support-bot:
    protected: true
    profile: {name: Support desk, email: support@example.com}
    token: {from: env:IM_TOKEN_SUPPORT, version: 1}
  alice:
    profile: {name: Alice}
  mallory:
    profile: {name: Mallory}
    banned: {reason: spam, ticket: TS-1042}
"""


def run(arguments: Namespace, console: Console) -> int:
    """Tell the story in a folder of its own, and clean up unless it is to be kept."""
    try:
        from reconciler.emulator import Settings, running
    except ModuleNotFoundError as problem:
        raise _missing(problem) from None
    with _folder(arguments.keep) as folder:
        try:
            with running(Settings(rate=0)) as endpoint:
                _Story(folder, endpoint, console).tell()
        except ModuleNotFoundError as problem:
            raise _missing(problem) from None
        console.print("")
        if arguments.keep:
            console.print(f"The workspace is kept in {folder}. Its vendor is gone.")
        else:
            console.print("That was the whole story, on loopback; nothing of it is left behind.")
        if console.advises and arguments.keep:
            console.print(
                "Start one with:\n  reconciler emulator --port 8900    (and set `endpoint` to it)"
            )
        elif console.advises:
            console.print("Your own:\n  reconciler --chdir my-im init")
    return Exit.DONE


def _missing(problem: ModuleNotFoundError) -> ReconcilerError:
    return ConfigError.of(
        "no-emulator",
        f"the demo needs {problem.name}, which is not installed",
        hint="pip install 'im-reconciler[emulator]'",
    )


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="reconciler-demo-") as name:
            yield Path(name)
        return
    folder = Path(keep).resolve()
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError.of("exists", f"{keep} is not empty", hint="--keep takes a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


class _Story:
    """The steps, told and done; a step that ends otherwise than it should ends the story."""

    def __init__(self, folder: Path, endpoint: str, console: Console) -> None:
        self.folder, self.endpoint, self.console = folder, endpoint, console
        self.environ = {
            **os.environ,
            "YUNXIN_APP_KEY": "demo-app-key",
            "YUNXIN_APP_SECRET": "demo-app-secret",
            "IM_TOKEN_SUPPORT": "a-login-token-of-the-demo",
            # Its own vendor, so whose changes these are does not matter.
            "GITHUB_EVENT_NAME": "",
            "CI_PIPELINE_SOURCE": "",
            # Its state is thrown away on purpose.
            "CI": "",
        }

    def tell(self) -> None:
        """Tell all of it."""
        self.say(
            "A vendor that speaks Yunxin IM v2 runs on loopback. A workspace names its app, "
            "and account files say which accounts there shall be:"
        )
        self.write("reconciler.yaml", _WORKSPACE.format(endpoint=self.endpoint))
        self.write("accounts/team.yaml", _ACCOUNTS)
        self.say("What would happen? A plan reads files and recorded state, no vendor:")
        self.command("plan")
        self.say("Carry it out. Every call has an intent on disk before its first byte is sent:")
        self.command("apply --auto-approve")
        self.command("plan")
        self.say(
            "A reviewed change: one new name, one ban. The plan is saved, and just that "
            "plan is applied:"
        )
        self.write("accounts/team.yaml", _EDITED)
        self.command("plan --out change.plan.json")
        self.command("apply change.plan.json")
        self.say("The ban is lifted again:")
        self.write(
            "accounts/team.yaml",
            _EDITED.replace("    banned: {reason: spam, ticket: TS-1042}\n", ""),
            show=False,
        )
        self.command("apply --auto-approve")
        self.say(
            "Somebody renames alice in the vendor's console, behind our back. "
            "Drift finds it, and changes nothing (exit code 2):"
        )
        self.console_edit("alice", {"profile": {"name": "Al1ce"}})
        self.command("drift", expect=Exit.CHANGES)
        self.say("A plan against what the vendor holds now would set it right:")
        self.command("plan --refresh --out mend.plan.json")
        self.command("apply mend.plan.json")
        self.command("drift")
        self.say("And who did what to mallory, and when:")
        self.command("state history cn-prod/mallory")

    def say(self, text: str) -> None:
        """Tell what comes next."""
        self.console.print(f"\n# {text}")

    def write(self, name: str, text: str, *, show: bool = True) -> None:
        """Write a file of the workspace and show it."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if show:
            self.console.print(f"\n  {name}\n{indent(dedent(text).rstrip(), '    ')}")

    def command(self, line: str, expect: int = Exit.DONE) -> None:
        """Run one command as a user would, and check how it ends."""
        self.console.print(f"\n$ reconciler {line}")
        self.console.flush()
        ended = subprocess.run(  # noqa: S603 (our own interpreter and words)
            [sys.executable, "-P", "-m", "reconciler", *line.split()],
            cwd=self.folder,
            env=self.environ,
            text=True,
            encoding="utf-8",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        self.console.print(ended.stdout.rstrip())
        if ended.returncode != expect:
            raise ReconcilerError.of(
                "demo", f"`reconciler {line}` ended with {ended.returncode}, not {expect}"
            )

    def console_edit(self, account_id: str, fields: dict[str, object]) -> None:
        """Change an account as the vendor's console would."""
        request = urllib.request.Request(  # noqa: S310 (our own server on loopback)
            f"{self.endpoint}/_emulator/accounts/yunxin/demo-app-key/{account_id}",
            data=json.dumps(fields).encode(),
            method="PATCH",
        )
        # Not through a proxy that the environment names: loopback is reached directly.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=10):
            pass
