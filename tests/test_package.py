"""The package as it is built: what is in it, the same bytes each time, and what it shares."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from reconciler import __version__

ROOT = Path(__file__).parents[1]
NAME = f"im_reconciler-{__version__}"
WHEEL = f"{NAME}-py3-none-any.whl"


def build(source: Path, into: Path) -> None:
    """Build the sdist and the wheel of a source tree, otherwise than a release does."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(into)],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1580601600", "PYTHONHASHSEED": "7"},
        umask=0o077,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def unpack(sdist: Path, folder: Path) -> None:
    """Unpack an sdist; Python asks for a filter from 3.12 on, and some of 3.11 have none."""
    with tarfile.open(sdist) as archive:
        if sys.version_info >= (3, 12):
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that a release of this checkout would hold."""
    folder = tmp_path_factory.mktemp("release")
    program = [sys.executable, str(ROOT / ".ci/release.py"), str(folder)]
    subprocess.run(program, stderr=subprocess.DEVNULL, check=True)
    return folder


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program that makes what the wheel shares."""
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    return import_module("share")


def test_the_wheel_holds_the_package_and_nothing_else(dist: Path, share: ModuleType) -> None:
    """Modules, schemas, pages, migrations, the marker for types, licence, manual, completions."""
    held = set(zipfile.ZipFile(dist / WHEEL).namelist())
    files = [
        file.relative_to(ROOT).as_posix()
        for top in ("reconciler", "schemas")
        for file in (ROOT / top).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]
    package = {re.sub("^schemas/", "reconciler/schemas/", file) for file in files}
    about = ("METADATA", "WHEEL", "entry_points.txt", "licenses/LICENSE", "RECORD")
    shared = {f"{NAME}.data/data/{name}" for name in (share.MANUAL, *share.SHELLS)}
    assert held == package | shared | {f"{NAME}.dist-info/{one}" for one in about}
    assert package >= {
        "reconciler/py.typed",
        "reconciler/schemas/plan.schema.json",
        "reconciler/stores/migrations/postgres/0001.sql",
        "reconciler/stores/migrations/sqlite/0001.sql",
        "reconciler/views/pages/plan.html",
    }


def test_a_build_gives_the_same_bytes_each_time(dist: Path, tmp_path: Path) -> None:
    """From the sdist, elsewhere, with other times, modes and hash seeds: the very same files."""
    unpack(dist / f"{NAME}.tar.gz", tmp_path)
    for file in (tmp_path / NAME).rglob("*"):
        os.utime(file, (1, 1))
    build(tmp_path / NAME, tmp_path / "again")

    for name in (WHEEL, f"{NAME}.tar.gz"):
        assert (tmp_path / "again" / name).read_bytes() == (dist / name).read_bytes(), name


def test_the_sdist_holds_what_builds_and_tests_it(dist: Path) -> None:
    """All that is tracked is in it, and no cache."""
    with tarfile.open(dist / f"{NAME}.tar.gz") as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    assert {"pyproject.toml", "README.md", "LICENSE", "requirements.lock", ".ci/run"} <= held
    assert {name for name in tracked if name and (ROOT / name).exists()} <= held
    assert not [name for name in held if re.search(r"__pycache__|\.pyc$|_cache/|^\.venv", name)]


def test_schemas_are_found_wherever_the_package_is(dist: Path, tmp_path: Path) -> None:
    """In a wheel, in a plain checkout, and where the tests run; each reads the same text."""
    zipfile.ZipFile(dist / WHEEL).extractall(tmp_path / "wheel")
    unpack(dist / f"{NAME}.tar.gz", tmp_path)
    code = "import reconciler.config as c; print(c.__file__, c.schema_text('plan'))"
    told = {}
    for place in (tmp_path / "wheel", tmp_path / NAME, ROOT):
        found = subprocess.run(
            [sys.executable, "-P", "-c", code],
            env={**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert found.startswith(f"{place}/reconciler/")
        told[place] = found.partition(" ")[2].rstrip()
    assert set(told.values()) == {(ROOT / "schemas/plan.schema.json").read_text().rstrip()}


def test_the_top_level_is_kept_small(dist: Path) -> None:
    """Beside dotfiles there is what every project has, and a lock; the rest has a folder."""
    with tarfile.open(dist / f"{NAME}.tar.gz") as archive:
        held = {name.split("/")[1] for name in archive.getnames()}
    assert {name for name in held if not name.startswith(".")} - {"PKG-INFO"} == {
        *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "requirements.lock"),
        *("reconciler", "schemas", "examples", "tests"),
    }


SHELL = """\
source "$1"
complete -p reconciler >/dev/null || exit
while read -r line; do
  eval "COMP_WORDS=($line)"
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
  _shtab_reconciler
  echo "${COMPREPLY[*]}"
done
"""
COMPLETED = {
    "reconciler val": "validate",
    "reconciler state hi": "history",
    "reconciler state ''": "list show rm mv push restore backup rekey pull verify history",
    "reconciler lock ''": "status",
    "reconciler plan --detailed": "--detailed-exitcode",
    "reconciler state mv a b --auto": "--auto-approve",
    "reconciler --chdir im plan --refr": "--refresh",
    "reconciler plan --format ma": "markdown",
    "reconciler --log-level d": "debug",
    "reconciler state history --action bl": "block",
    "reconciler apply nex": "next.plan.json",
    "reconciler plan --state nex": "next.plan.json",
    "reconciler --chdir im": "im-prod",
    "reconciler nonsense": "",
}


def test_bash_completes(share: ModuleType, tmp_path: Path) -> None:
    """In bash, commands, their parts, flags, choices, and names of files and folders complete."""
    bash = shutil.which("bash")
    assert bash
    (tmp_path / "next.plan.json").touch()
    (tmp_path / "im-prod").mkdir()
    (tmp_path / "completion").write_text(share.completions("bash"), encoding="utf-8")
    ended = subprocess.run(
        [bash, "--norc", "-c", SHELL, "-", "completion"],
        cwd=tmp_path,
        input="\n".join(COMPLETED) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert dict(zip(COMPLETED, ended.stdout.split("\n"), strict=False)) == COMPLETED
    assert ended.stderr == ""


def test_every_command_completes_in_every_shell(share: ModuleType, tmp_path: Path) -> None:
    """Each shell's file names every command and flag, and the shell, where it is, reads it."""
    for shell in share.SHELLS.values():
        text = share.completions(shell)
        for one in share.commands(share.parser()):
            assert one.prog.split()[-1] in text
            for action in one._actions:
                for flag in action.option_strings:
                    assert flag.lstrip("-") in text
        if program := shutil.which(shell):
            (tmp_path / shell).write_text(text, encoding="utf-8")
            subprocess.run([program, "-n", str(tmp_path / shell)], check=True)


def test_the_manual_tells_all_that_help_tells(share: ModuleType) -> None:
    """Each command's purpose, example and exit codes, and the README's tables, unbroken."""
    text = share.manual()
    plain = text.replace("\\-", "-").replace("\\(aq", "'").replace("\\(bu", "·")
    for one in share.commands(share.parser()):
        assert f'\n.SS "{one.prog.removeprefix("reconciler ")}"\n.B {one.prog}\n' in plain
        assert f"\n{one.description}\n" in plain
        assert f"\n{str(one.epilog).partition(chr(10))[0]}\n" in plain
    for part in ("EXIT STATUS\n.TP\n.B 0\ndone", ".B 130\ninterrupted\n", ".B NO_COLOR\n"):
        assert part in plain


@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff")
def test_the_manual_is_typeset_without_a_warning(share: ModuleType) -> None:
    """groff, which man calls, has nothing to warn of, and prints no command of its own as text."""
    ended = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-P-c"],
        input=share.manual(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    printed = re.sub(".\x08", "", ended.stdout)
    assert "EXIT STATUS" in printed
    assert not re.search(r"(?m)^ *\.[A-Z]{1,2}\b", printed)
