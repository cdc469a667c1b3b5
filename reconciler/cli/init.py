"""init: a commented workspace in an empty folder, which validates as it stands."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from reconciler.cli.console import Console
from reconciler.errors import ConfigError
from reconciler.exits import Exit

_SCHEMAS = ".reconciler/schemas"

_WORKSPACE = f"""\
# yaml-language-server: $schema={_SCHEMAS}/workspace.schema.json
version: 1
workspace: my-im  # a name for this set of accounts

# One entry per vendor app. Its name is the first half of every address (cn-prod/support-bot).
providers:
  cn-prod:
    type: yunxin
    region: china  # or, for a private deployment or the emulator:
    # endpoint: http://127.0.0.1:8900
    credentials:  # references, never secrets: env:NAME, file:PATH
      app_key: env:YUNXIN_APP_KEY
      app_secret: env:YUNXIN_APP_SECRET

# Where the accounts are written.
accounts:
  - accounts/**/*.yaml

# What account files may refer to, for example in `token: {{from: env:IM_TOKEN_SUPPORT}}`.
# secrets:
#   allow: ["env:IM_TOKEN_*"]

# An account that leaves the YAML is forgotten (never deleted, never blocked). Or: block, error.
on_absent: forget

# How much one plan may do to recorded accounts before somebody has to say the exact number.
limits:
  block: {{count: 20, percent: 10}}
  unblock: {{count: 20, percent: 10}}
  forget: {{count: 20, percent: 10}}
  update: {{percent: 30, above: 10}}
"""

_ACCOUNTS = f"""\
# yaml-language-server: $schema=../{_SCHEMAS}/accounts.schema.json
#
# Every account is written beneath its id. Only what is written is managed. For example:
#
# accounts:
#   support-bot:
#     profile:
#       name: Support
#       avatar: https://cdn.example.com/bot.png
#     labels:
#       team: support
#   spammer-77:
#     adopt: true                 # the app's own server registered it
#     banned:
#       reason: spam
#       ticket: TS-1042
#       until: 2027-01-31T00:00:00Z

accounts: {{}}
"""

_IGNORE = f"""\
.reconciler/*
!{_SCHEMAS}/
*.plan.json
"""


def run(arguments: Namespace, console: Console) -> int:
    """Write the files; refuse to overwrite any of them."""
    from reconciler.config import schema_text
    from reconciler.files import OWN, private_folder

    root = Path(arguments.chdir)
    files = {
        "reconciler.yaml": _WORKSPACE,
        "accounts/example.yaml": _ACCOUNTS,
        ".gitignore": _IGNORE,
        **{
            f"{_SCHEMAS}/{name}.schema.json": schema_text(name)
            for name in ("workspace", "accounts")
        },
    }
    kept = [name for name in ("reconciler.yaml", "accounts/example.yaml") if (root / name).exists()]
    if kept:
        raise ConfigError.of(
            "exists",
            f"{kept[0]} exists already and was left as it is",
            hint="init is for a new folder: reconciler --chdir NEW init",
        )
    for name, text in files.items():
        path = root / name
        if name == ".gitignore" and path.exists():
            console.say(f"kept {name}; make sure that it ignores .reconciler/state.db")
            continue
        if name.startswith(OWN):
            private_folder(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        console.print(f"wrote {name}")
    console.print(
        "Next: set the provider and its credentials in reconciler.yaml, write an account,"
        " then run: reconciler plan"
    )
    return Exit.DONE
