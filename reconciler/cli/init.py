"""init: a commented workspace for one vendor or several, which validates and plans as it stands."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from reconciler.cli.console import Console
from reconciler.errors import UsageError
from reconciler.exits import Exit
from reconciler.providers import TYPES, provider

_SCHEMAS = ".reconciler/schemas"


class _Vendor(NamedTuple):
    """What is written for one vendor: its entry, which the capability table has."""

    entry: str

    @property
    def name(self) -> str:
        """The name of the provider."""
        return self.entry.split(":")[0].strip()

    @property
    def secrets(self) -> list[str]:
        """The environment variables that the entry refers to."""
        return re.findall(r"\benv:(\w+)", self.entry)


_MODELINES = """\
# yaml-language-server: $schema={schema}
# $schema: {schema}
"""

_WORKSPACE = """\
version: 1
workspace: my-im  # a name for this set of accounts

# One entry per vendor app. Its name is the first half of every address ({name}/support-bot).
# Secrets are references, never values: env:NAME, file:PATH, cmd:["program","argument"].
providers:
{entries}
# Where the accounts are written. A glob may set defaults for all accounts of its files.
accounts:
  - accounts/**/*.yaml
# - {{files: moderation/*.yaml, adopt: true, defaults: {{labels: {{team: moderation}}}}}}

# A ban list that moderators keep in a spreadsheet, saved as CSV: id, reason, until, ticket.
# accounts_from:
#   - {{bans: moderation/bans.csv, provider: {name}}}

# The reasons that bans may have, and how long such a ban may last.
# ban_reasons:
#   spam: {{max: 90d}}
#   fraud: {{}}

# What account files may refer to, for example in `token: {{from: env:IM_TOKEN_SUPPORT}}`.
# secrets: {{allow: ["env:IM_TOKEN_*"]}}

# An account that leaves the YAML is forgotten (never deleted, never blocked). Or: block, error.
on_absent: forget

# How much one plan may do to recorded accounts before somebody has to say the exact number.
limits:
  block: {{count: 20, percent: 10}}
  unblock: {{count: 20, percent: 10}}
  forget: {{count: 20, percent: 10}}
  update: {{percent: 30, above: 10}}
"""

_ACCOUNTS = """\
#
# Every account is written beneath its id. Only what is written is managed. For example:
#
# accounts:
#   support-bot:
#     profile: {{name: Support, avatar: https://cdn.example.com/bot.png}}
#     labels: {{team: support}}
#   spammer-77:
#     adopt: true  # the app's own server registered it
#     banned: {{reason: spam, ticket: TS-1042, until: 2027-01-31T00:00:00Z}}

{defaults}accounts: {{}}
"""

_IGNORE = f"""\
.reconciler/*
!{_SCHEMAS}/
*.plan.json
"""

_SETTINGS = f"""\
{{
  "yaml.schemas": {{
    "{_SCHEMAS}/workspace.schema.json": "reconciler.yaml",
    "{_SCHEMAS}/accounts.schema.json": ["accounts/**/*.yaml", "accounts/**/*.yml"],
    "{_SCHEMAS}/scenario.schema.json": "tests/**/*.test.yaml"
  }},
  "json.schemas": [
    {{"fileMatch": ["accounts/**/*.json"], "url": "./{_SCHEMAS}/accounts.schema.json"}}
  ]
}}
"""

_EXTENSIONS = """\
{"recommendations": ["redhat.vscode-yaml"]}
"""


def run(arguments: Namespace, console: Console) -> int:
    """Write what is missing; a file that is there stays as it is."""
    from reconciler.config import schema_text

    root = Path(arguments.chdir)
    vendors = [_Vendor(provider(name).capabilities.entry) for name in _chosen(arguments.vendors)]
    files = {
        "reconciler.yaml": _workspace(vendors),
        "accounts/example.yaml": _accounts(vendors),
        ".gitignore": _IGNORE,
        ".vscode/settings.json": _SETTINGS,
        ".vscode/extensions.json": _EXTENSIONS,
        **{
            f"{_SCHEMAS}/{name}.schema.json": schema_text(name)
            for name in ("workspace", "accounts", "scenario")
        },
    }
    kept = (root / "reconciler.yaml").exists()
    if kept:
        # Whoever has a workspace has accounts of their own.
        del files["accounts/example.yaml"]
    for name, text in files.items():
        console.print(f"wrote {name}" if _write(root / name, text) else _left(root, name, text))
    if kept and arguments.vendors:
        console.lines(_add(vendors))
    elif console.advises:
        console.lines(_next(vendors, kept=kept))
    return Exit.DONE


def _chosen(written: Iterable[str]) -> list[str]:
    """Return the vendors that were asked for, each once. Raises UsageError."""
    names = [name.strip() for text in written for name in text.split(",")] or [TYPES[0]]
    for name in names:
        if name not in TYPES:
            from reconciler.config.close import close

            raise UsageError.of(
                "unknown-vendor",
                f"--from: there is no vendor {name[:80]!r}",
                hint=close(name, TYPES),
            )
    return list(dict.fromkeys(names))


def _workspace(vendors: Iterable[_Vendor]) -> str:
    vendors = tuple(vendors)
    schema = f"{_SCHEMAS}/workspace.schema.json"
    entries = "".join(one.entry for one in vendors)
    return _MODELINES.format(schema=schema) + _WORKSPACE.format(
        entries=entries, name=vendors[0].name
    )


def _accounts(vendors: Iterable[_Vendor]) -> str:
    names = [one.name for one in vendors]
    defaults = ""
    if len(names) > 1:
        defaults = (
            "# Every account of this file is one in each of these apps, unless it names its own.\n"
            f"defaults:\n  provider: [{', '.join(names)}]\n"
        )
    schema = f"../{_SCHEMAS}/accounts.schema.json"
    return _MODELINES.format(schema=schema) + _ACCOUNTS.format(defaults=defaults)


def _write(path: Path, text: str) -> bool:
    """Write a file that is not there yet; tell whether it was written."""
    from reconciler.files import OWN, private_folder

    if OWN in path.parts:
        private_folder(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _left(root: Path, name: str, text: str) -> str:
    """Say that a file is there already, and what to look after in it."""
    if name == ".gitignore":
        return f"kept {name}; make sure that it ignores .reconciler/state.db"
    if name == ".vscode/settings.json":
        return f"kept {name}; `yaml.schemas` there tells the editor what the files may hold"
    if name.startswith(_SCHEMAS) and (root / name).read_text(encoding="utf-8") != text:
        return f"kept {name}, which is of another version; to have it anew, remove it and run init"
    return f"kept {name}"


def _add(vendors: Iterable[_Vendor]) -> Iterator[str]:
    yield "reconciler.yaml is there already. What --from would write stands beneath providers: like"
    for one in vendors:
        yield one.entry.rstrip("\n")


def _next(vendors: Iterable[_Vendor], *, kept: bool) -> Iterator[str]:
    if kept:
        yield "Next: reconciler validate"
        return
    names = [name for one in vendors for name in one.secrets]
    yield "Next:"
    yield "  1. name the workspace and its providers in reconciler.yaml"
    yield "  2. write an account into accounts/example.yaml, then: reconciler validate"
    yield "  3. reconciler plan   (needs no credentials)"
    yield f"  4. set {', '.join(names)}, then: reconciler apply"
