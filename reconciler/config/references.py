"""References: which secrets account files may refer to, and how tokens are written."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import PurePosixPath
from typing import Any, Final

from reconciler.config import scalars
from reconciler.config.close import close
from reconciler.config.report import Report
from reconciler.config.scalars import FLAGS, Wrong
from reconciler.values import Reference
from reconciler.workspace import Workspace

SCHEMES: Final = ("env:", "file:", "cmd:")
_ENV = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = ("from", "generate", "sink", "version")
_HOW = "write {from: env:NAME, version: 1}; a token never stands in a file of accounts"


def reference(text: str) -> Reference:
    """Return a well-formed reference. Raises Wrong."""
    if text.startswith("env:") and _ENV.fullmatch(text):
        return Reference(text)
    if text.startswith("file:"):
        path = PurePosixPath(text[5:])
        if text[5:] and ".." not in path.parts and "\\" not in text:
            return Reference(text)
        raise Wrong(
            "bad-reference",
            f"{text[:80]!r} leaves its folder.",
            "write file: and a path without ..",
        )
    if text.startswith("cmd:") and _command(text[4:]):
        return Reference(text)
    raise Wrong(
        "bad-reference",
        "This is no reference to a secret.",
        'write env:NAME, file:PATH, or in reconciler.yaml cmd:["program","argument"]',
    )


def _command(text: str) -> bool:
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(words, list)
        and bool(words)
        and bool(words[0])
        and all(isinstance(word, str) and "\0" not in word for word in words)
    )


def is_reference(text: str) -> bool:
    """Tell whether a text is meant as a reference."""
    return text.startswith(SCHEMES)


class References:
    """What the account files of a workspace may refer to."""

    def __init__(self, workspace: Workspace) -> None:
        self.allow = workspace.secrets.allow
        self._globs = [re.compile(fnmatch.translate(glob)) for glob in self.allow]
        self._taken = frozenset(_plain(one.text) for one in _own(workspace))
        self._known: dict[str, str] = {}

    def allowed(self, value: Any) -> str:
        """Return the text of a reference an account file may hold. Raises Wrong."""
        text = scalars.word(value)
        if text in self._known:
            return self._known[text]
        if not is_reference(text):
            raise Wrong("literal-secret", "A token is written out here.", _HOW)
        if text.startswith("cmd:"):
            raise Wrong(
                "forbidden-reference",
                "Account files cannot run commands.",
                "write env:NAME or file:PATH",
            )
        reference(text)
        if text.startswith("file:/"):
            raise Wrong(
                "forbidden-reference", "The path is absolute.", "write a path beneath the workspace"
            )
        if _plain(text) in self._taken:
            raise Wrong(
                "forbidden-reference",
                f"{text[:80]} belongs to the workspace's own secrets.",
                "keep the token under a name of its own",
            )
        if not any(glob.match(_plain(text)) for glob in self._globs):
            raise Wrong(
                "forbidden-reference",
                f"secrets.allow has no entry for {text[:80]}.",
                f"it allows {', '.join(self.allow) or 'nothing'}; see reconciler.yaml",
            )
        if len(self._known) < 10_000:
            self._known[text] = str(text)
        return str(text)

    def token(self, raw: Any, report: Report) -> dict[str, Any]:
        """Return the token section of a Document; reports what does not fit."""
        made: dict[str, Any] = {"version": 1}
        if not isinstance(raw, dict):
            report(("token",), "literal-secret", "A token is written out here.", _HOW)
            return made
        for name, value in raw.items():
            try:
                if name == "version":
                    made["version"] = scalars.positive(value)
                elif name == "generate":
                    made["generate"] = _generate(value)
                elif name in _TOKEN:
                    made[name] = self.allowed(value)
                else:
                    report(
                        ("token", name),
                        "unknown-key",
                        f"There is no key {name[:80]!r} here.",
                        close(name, _TOKEN),
                    )
            except Wrong as wrong:
                report(("token", name), wrong.id, wrong.summary, wrong.hint)
        if ("from" in raw) == ("generate" in raw):
            report(("token",), "bad-token", "A token needs either from or generate.", _HOW)
        elif ("sink" in raw) != ("generate" in raw):
            report(
                ("token",),
                "bad-token",
                "sink and generate belong together.",
                "write {generate: true, sink: file:PATH, version: 1}",
            )
        return made


def _generate(value: Any) -> bool | str:
    if value.__class__ is str and value in FLAGS and FLAGS[value]:
        return True
    if scalars.word(value) == "vendor":
        return "vendor"
    raise Wrong("bad-choice", "generate is true or vendor.", "write true or vendor")


def _plain(text: str) -> str:
    """Return the reference with its path in one spelling, so that ./a and a are the same."""
    return f"file:{PurePosixPath(text[5:])}" if text.startswith("file:") else text


def _own(workspace: Workspace) -> list[Reference]:
    found: list[Any] = [workspace.secrets.fingerprint_key, *workspace.state.secrets]
    found += [webhook.url for webhook in workspace.notify]
    found += [webhook.secret for webhook in workspace.notify if webhook.secret]
    for app in workspace.apps.values():
        found += [app.proxy, *app.credentials.values()]
    return [one for one in found if isinstance(one, Reference)]
