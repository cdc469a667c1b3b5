"""The workflows of the project itself: who may do what, and the steps of a release."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler import __version__
from tests.github_runner import ROOT, program

RELEASE: Any = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
CI: Any = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))


def scripts(job: str) -> list[str]:
    """Return the scripts of a job of the release."""
    return [step["run"] for step in RELEASE["jobs"][job]["steps"] if "run" in step]


def test_ci_runs_on_every_python_that_is_locked() -> None:
    """The matrix is what the lock is for, and what it runs is `.ci/run`."""
    matrix = CI["jobs"]["check"]["strategy"]["matrix"]["python"]
    assert matrix == ["3.11", "3.12", "3.13", "3.14"]
    told = (ROOT / ".github/CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"Python {matrix[0]} to {matrix[-1]}" in told
    (run,) = [step for step in CI["jobs"]["check"]["steps"] if "run" in step]
    assert run["run"] == "bash .ci/run $DEPENDENCIES"
    assert CI["jobs"]["check"]["permissions"] == {"contents": "read"}


def test_what_signs_or_publishes_runs_no_code_of_the_project() -> None:
    """Only the job without rights has a checkout; each later one waits for the one before it."""
    jobs = RELEASE["jobs"]
    for name, job in jobs.items():
        used = " ".join(step.get("uses", "") for step in job["steps"])
        if any(right == "write" for right in job["permissions"].values()):
            assert "actions/checkout" not in used
            assert not re.search(r"python|pip|\.ci/", " ".join(scripts(name)))
        else:
            assert job["permissions"] == {"contents": "read"}
    assert [job.get("needs") for job in jobs.values()] == [None, "build", "attest", "publish"]
    assert jobs["publish"]["environment"] == "release"
    assert "secrets." not in str(RELEASE)


def test_the_steps_of_a_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built, summed, its packages apart, and announced with the changelog's words."""
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    folder = tmp_path / "release"
    subprocess.run(
        [sys.executable, ROOT / ".ci/release.py", folder], stderr=subprocess.DEVNULL, check=True
    )
    stem = f"im_reconciler-{__version__}"
    packages = {f"{stem}-py3-none-any.whl", f"{stem}.tar.gz"}
    beside = {f"{stem}-requirements.txt", f"{stem}.cdx.json"}
    assert {file.name for file in folder.iterdir()} == packages | beside | {"SHA256SUMS"}
    sums = dict(line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        hashlib.sha256((folder / name).read_bytes()).hexdigest(): name for name in packages | beside
    }
    first = (folder / f"{stem}-requirements.txt").read_text().partition("\n")[0]
    (digest,) = [digest for digest, name in sums.items() if name.endswith(".whl")]
    assert first == f"im-reconciler=={__version__} --hash=sha256:{digest}"
    (folder / "NOTES.md").write_text(import_module("release").notes("Unreleased"))
    assert (folder / "NOTES.md").read_text().startswith("### ")

    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin/gh", 'printf "%s\\n" "$@" >gh.txt')
    for script in (*scripts("attest"), *scripts("publish"), *scripts("announce")):
        if script.startswith("mv release/NOTES.md"):
            shutil.copytree(tmp_path / "packages", folder, dirs_exist_ok=True)
        subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=tmp_path,
            env={
                "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
                "GITHUB_OUTPUT": str(tmp_path / "output"),
                "GITHUB_REF_NAME": f"v{__version__}",
            },
            check=True,
        )
    assert (tmp_path / "output").read_text() == f"path=release/{stem}.cdx.json\n"
    assert {file.name for file in (tmp_path / "packages").iterdir()} == packages
    told = (tmp_path / "gh.txt").read_text().split()
    assert told[:3] == ["release", "create", f"v{__version__}"]
    assert {f"release/{name}" for name in packages | beside | {"SHA256SUMS"}} <= set(told)
    assert "--verify-tag" in told


@pytest.mark.parametrize(
    ("tag", "told"),
    [("v9.9.9", "is not of this version"), (f"v{__version__}", "CHANGELOG.md has no section for")],
)
def test_a_tag_that_does_not_fit_builds_nothing(tmp_path: Path, tag: str, told: str) -> None:
    """A tag of another version, or one that the changelog is silent about, is refused."""
    if f"\n## {__version__} " in (ROOT / "CHANGELOG.md").read_text() and tag == f"v{__version__}":
        pytest.skip("this version is released")
    ended = subprocess.run(
        [sys.executable, ROOT / ".ci/release.py", tmp_path / "release", tag],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, told in ended.stderr) == (1, True)
    assert not (tmp_path / "release").exists()
