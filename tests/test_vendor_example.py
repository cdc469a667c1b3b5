"""The worked example of another vendor: what its instructions say is all that it takes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from reconciler.emulator.vendors import VENDORS
from reconciler.providers import TYPES

ROOT = Path(__file__).parents[1]
STEPS = re.findall(
    r"^```(sh|diff)\n(.*?)^```$",
    (ROOT / "reconciler/providers/README.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)

STORY = """\
import json, os, sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from reconciler.cli import run
from reconciler.emulator import Settings, running

def reconciler(*words):
    with redirect_stdout(StringIO()) as told:
        code = run(words, os.environ | {"MINICHAT_APP_KEY": "demo-app-key",
                                        "MINICHAT_APP_SECRET": "demo-app-secret"})
    return int(code), told.getvalue()

with running(Settings(rate=0)) as url:
    assert reconciler("init", "--from", "minichat")[0] == 0
    file = Path("reconciler.yaml")
    file.write_text(file.read_text().replace("http://127.0.0.1:8900", url))
    accounts = Path("accounts/example.yaml")
    accounts.write_text('accounts: {support-bot: {profile: {name: Support}}, bad: {banned: true}}')
    assert reconciler("validate") == (0, "Valid: 2 accounts. 0 errors, 0 warnings.\\n")
    assert reconciler("apply", "--auto-approve")[1].endswith(
        "Apply complete: 2 created, 0 updated, 1 blocked, 0 unblocked, 0 forgotten.\\n")
    assert reconciler("plan")[1].startswith("No changes.")
    code, told = reconciler("drift", "--json")
    assert (code, json.loads(told)["coverage"]) == (0, {"checked": 3, "recorded_only": 0}), told
    accounts.write_text('accounts: {Bad: {token: {from: env:T, version: 1}}}')
    findings = json.loads(reconciler("validate", "--json")[1])["diagnostics"]
    assert {one["id"] for one in findings} >= {"bad-id", "unsupported-field"}, findings
    Path("tests").mkdir()
    Path("tests/a.test.yaml").write_text('''scenarios:
  a ban that is lifted at the console, and a throttled vendor:
    given: {accounts: {bob: {profile: {name: Bob}}}}
    steps:
      - when: {change: {bob: {banned: true}}, trouble: [{call: block, answers: throttled}]}
        expect: {actions: [block bob], vendor: {bob: {banned: true, kicks: 1}}}
      - when: {vendor: {bob: {banned: false}}, refresh: true}
        expect: {actions: [block bob (drift)], vendor: {bob: {profile: {name: Bob}, banned: true}}}
''')
    code, told = reconciler("test")
    assert code == 0, told
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the instructions touch or run."""
    for folder in ("reconciler", "schemas", ".ci", "examples/vendor"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "tests").mkdir()
    for file in ROOT.glob("tests/*.py"):
        if not file.name.startswith("test_"):
            shutil.copy(file, tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def python(root: Path, *words: str, at: Path | None = None) -> str:
    """Run Python with the copy's package, and return what it says."""
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=at or root,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def test_a_vendor_is_three_files_and_its_name_in_three_lists(copy: Path, tmp_path: Path) -> None:
    """After the README's steps, and no other edit, Minichat passes the suite and is used."""
    for kind, step in STEPS:
        if kind == "diff":
            words = ["git", "apply", "--unidiff-zero", "--whitespace=nowarn", "-"]
            subprocess.run(words, cwd=copy, input=step, text=True, check=True)
            continue
        for line in step.splitlines():
            program, *words = shlex.split(line)
            if program == "cp":
                shutil.copy(copy / words[0], copy / words[1])
            elif "pytest" in words:
                told = python(copy, *words, "-q", "-n", "0", "-p", "no:cacheprovider")
                assert re.search(r"(?m)^1\d passed, 1 skipped", told), told  # it has no tokens
            else:
                python(copy, *words)
    schema = (copy / "schemas/workspace.schema.json").read_text(encoding="utf-8")
    assert '"enum": ["yunxin", "commsease", "tencent", "minichat"]' in schema
    assert "`minichat`" in (copy / "reconciler/providers/README.md").read_text(encoding="utf-8")

    place = tmp_path / "workspace"
    place.mkdir()
    python(copy, "-c", STORY, at=place)


def test_every_vendor_stands_in_every_list() -> None:
    """A provider has its emulated vendor, and the contract that keeps vendors apart names it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (apart,) = (one for one in contracts["contracts"] if one["type"] == "independence")
    assert list(VENDORS) == list(TYPES)
    assert apart["modules"] == [f"reconciler.providers.{type}" for type in TYPES]
