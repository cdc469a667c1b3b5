"""Start-up: which heavy modules each command may import; what it does not need it does not pay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from config_capabilities import WORKSPACE
from config_files import write

HEAVY = {
    "yaml": "reading YAML",
    "jsonschema": "telling what a schema does not allow",
    "sqlite3": "recorded state in a file",
    "httpx": "talking to a vendor",
    "ssl": "talking to a vendor",
    "deepdiff": "comparing nested values that differ",
    "rich": "a progress bar on a terminal",
    "jinja2": "a page",
    "asyncio": "the emulator",
    "starlette": "the emulator",
    "uvicorn": "the emulator",
    "psycopg": "recorded state in PostgreSQL",
    "obstore": "recorded state in object storage",
    "subprocess": "running a command for a secret",
    "multiprocessing": "nothing",
    "concurrent.futures": "reading vendors",
    "email": "talking to a vendor",
    "attr": "jsonschema",
    "inspect": "dataclasses",
    "typing": "named tuples",
}
"""Modules that take milliseconds to import, and what for."""

LIGHT = {"inspect", "typing"}
READ = LIGHT | {"yaml"}
STATE = READ | {"sqlite3"}
VENDOR = STATE | {"httpx", "ssl", "email", "rich"}  # where click is installed, httpx loads rich

COMMANDS = {
    "--help": set(),
    "version": set(),
    "plan --help": set(),
    "bogus": LIGHT,
    "version --json": LIGHT,
    "schema plan": LIGHT,
    "providers": LIGHT,
    "validate": READ,
    "validate --json": READ,
    "plan": STATE,
    "plan --json": STATE,
    "plan --format markdown": STATE,
    "state list": STATE,
    "state history": STATE,
    "lock status": STATE,
    "--chdir bad validate": READ | {"jsonschema", "attr"},
    "apply --auto-approve": VENDOR,
}
"""What each command may import, in a workspace without a difference that nests."""

CODE = """
import json, sys
from reconciler.cli import run
try:
    run(json.loads(sys.argv[1]), dict(json.loads(sys.argv[2])))
except SystemExit:
    pass
found = [name for name in json.loads(sys.argv[3]) if name in sys.modules]
print(json.dumps(found), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("w")
    file = {"accounts/a.yaml": "accounts: {bot: {profile: {name: Bot}}}\n"}
    write(root, file, WORKSPACE.replace("region: china", "endpoint: http://127.0.0.1:9"))
    write(root / "bad", file, WORKSPACE.replace("region: china", "region: [china]"))
    return root


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_what_it_needs(workspace, command):
    """Of the heavy modules a command imports none but those that it is known to need."""
    environ = {"YUNXIN_APP_KEY": "k", "YUNXIN_APP_SECRET": "s", "HOME": str(workspace)}
    ended = subprocess.run(
        [sys.executable, "-c", CODE, *map(json.dumps, (command.split(), environ, list(HEAVY)))],
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    imported = set(json.loads(ended.stderr.splitlines()[-1]))
    offenders = imported - COMMANDS[command]
    assert not offenders, {name: f"is for {HEAVY[name]}" for name in offenders}


def test_a_program_imports_what_it_uses():
    """`import reconciler` loads nothing but itself; its functions load none but light modules."""
    code = """
import json, sys
before = set(sys.modules)
import reconciler
print(json.dumps(sorted(set(sys.modules) - before)))
from reconciler import apply, load, plan
print(json.dumps([name for name in json.loads(sys.argv[1]) if name in sys.modules]))
"""
    program = [sys.executable, "-c", code, json.dumps(list(HEAVY))]
    told = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True).stdout
    alone, light = map(json.loads, told.splitlines())
    assert alone == ["reconciler"]
    assert set(light) <= LIGHT
