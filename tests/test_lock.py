"""The lock: it agrees with pyproject.toml, every line of it has hashes, and its parts are whole."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
EVERYWHERE = [
    {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": system}
    for python in ("3.11", "3.12", "3.13", "3.14")
    for system in ("linux", "darwin")
]


PERMISSIVE = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"}
OTHERS = {"certifi": "MPL-2.0", "psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"}
"""What the package's README says of licences that ask for more; psycopg is for an extra only."""


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program that reads and writes the lock."""
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    return import_module("lock")


def needed(requirement: Requirement, where: dict[str, str]) -> bool:
    """Return whether a requirement counts on a machine."""
    return requirement.marker is None or requirement.marker.evaluate(where)


def test_every_requirement_is_locked_within_its_range(lock: ModuleType) -> None:
    """Each requirement of pyproject.toml, whatever extra or build it is of, is met by the lock."""
    own = lock.project()
    named = [*own["build-system"]["requires"], *lock.asked(own["project"]["optional-dependencies"])]
    held = lock.entries()
    assert len(named) > 20
    for requirement in map(Requirement, named):
        locked = held.get(lock.normal(requirement.name))
        assert locked, f"{requirement}: python3 .ci/lock.py --write"
        assert requirement.specifier.contains(locked.version), f"{requirement}: {locked.version}"


def test_the_lock_holds_what_its_packages_require(lock: ModuleType) -> None:
    """What a locked and installed package requires is locked, on every supported machine."""
    from importlib.metadata import PackageNotFoundError, distribution

    held, looked_at = lock.entries(), 0
    for name, entry in held.items():
        try:
            installed = distribution(name)
        except PackageNotFoundError:  # it is for another machine
            continue
        if installed.version != entry.version:  # the newest versions are installed, not the lock
            continue
        looked_at += 1
        for requirement in map(Requirement, installed.requires or ()):
            if any(needed(requirement, {**one, "extra": ""}) for one in EVERYWHERE):
                locked = held[lock.normal(requirement.name)]
                assert name in locked.via
                assert requirement.specifier.contains(locked.version)
    assert looked_at


def test_a_line_of_the_lock_is_a_release_with_hashes(lock: ModuleType) -> None:
    """Nothing but exact releases, each with hashes: no address, no index, no file."""
    entries = lock.entries()
    lines = [line for line in LOCK.splitlines() if not line.lstrip().startswith("#")]
    for line in lines:
        assert re.fullmatch(
            r"[a-z0-9-]+==[\w.+]+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line
        ), line
    assert len(re.findall(r"(?m)^\S+==", LOCK)) == len(entries)
    for entry in entries.values():
        assert "--hash=" in entry.text
        assert entry.via <= {*entries, "im-reconciler"}
        if marker := re.search(r" ; (.*) \\\n", entry.text):
            Marker(marker[1])


def test_no_registry_is_named() -> None:
    """No file of the project names the host of a package registry."""
    hosts = [".".join(parts).encode() for parts in (("pypi", "org"), ("pythonhosted", "org"))]
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    ).stdout.split(b"\0")
    files = [ROOT / name.decode() for name in tracked if name] or [ROOT / "requirements.lock"]
    for file in files:
        if file.is_file():
            text = file.read_bytes()
            assert not any(host in text for host in hosts), file


def test_a_part_of_the_lock_is_whole_and_no_more(lock: ModuleType) -> None:
    """What an extra needs is printed with all that this needs in turn, and nothing else."""

    def names(*words: str) -> set[str]:
        program = [sys.executable, "-I", str(ROOT / ".ci/lock.py"), *words]
        ended = subprocess.run(program, capture_output=True, text=True, check=True)
        return set(re.findall(r"(?m)^([a-z0-9-]+)==", ended.stdout))

    core, report, every = names(), names("report"), names("all")
    assert {"pyyaml", "httpx", "httpcore", "h11", "deepdiff", "cachebox", "rich"} <= core
    assert report - core == {"jinja2", "markupsafe"}
    assert report < every
    assert not every & {"pytest", "mypy", "hatchling", "psutil", "requests"}
    assert {"hatchling", "shtab", "pathspec"} <= names("--build")
    assert "httpx" not in names("--build")
    wrong = subprocess.run(
        [sys.executable, "-I", str(ROOT / ".ci/lock.py"), "nonsense"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (wrong.returncode, "there is no extra nonsense" in wrong.stderr) == (2, True)


def test_what_the_package_runs_on_is_permissive(lock: ModuleType) -> None:
    """Every package that a user gets has a licence that asks for nothing, but those told of."""
    sbom = import_module("sbom")
    core = {one.name for one in lock.part(lock.asked([]))}
    unknown = set()
    for one in lock.part(lock.asked(lock.extras())):
        told = sbom.licence(one.name)
        if not told:
            unknown.add(one.name)
        elif one.name in OTHERS:
            assert told == OTHERS[one.name]
        else:
            assert set(re.split(r" OR | AND ", told)) <= PERMISSIVE, (one.name, told)
    assert {name for name in unknown if " ; sys_platform" not in lock.entries()[name].text} == set()
    assert not core & {"psycopg", "psycopg-binary"}
    readme = (ROOT / "reconciler/README.md").read_text(encoding="utf-8")
    assert all(f"{name} ({licence})" in readme for name, licence in list(OTHERS.items())[:2])


def test_the_bill_of_materials_is_the_lock(lock: ModuleType) -> None:
    """Every package that a user gets, as locked, each that is depended on listed, and no tool."""
    sbom = import_module("sbom")
    bom = sbom.bom()
    parts = lock.part(lock.asked(lock.extras()))
    listed = {one["name"]: one["version"] for one in bom["components"]}
    assert listed == {one.name: one.version for one in parts}
    references = {one["bom-ref"] for one in (bom["metadata"]["component"], *bom["components"])}
    assert {one["ref"] for one in bom["dependencies"]} == references
    depended = {one for each in bom["dependencies"] for one in each["dependsOn"]}
    assert depended == references - {bom["metadata"]["component"]["bom-ref"]}
    assert (bom["bomFormat"], bom["specVersion"], bom) == ("CycloneDX", "1.6", sbom.bom())
