"""The wheel in a bare environment, put there by the Dockerfile's own steps and by the lock.

These tests ask a package index for what the lock names. `.ci/run` runs them, by `-m registry`;
what needs no network is in `test_package.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "examples/ci/docker"
PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"
pytestmark = [pytest.mark.registry, pytest.mark.timeout(300)]

READ_ONLY = """\
mount --bind "$1" "$1" && mount -o remount,bind,ro / && shift && cd "$1" && shift && exec "$@"
"""
"""Runs a command where nothing but one folder can be written, as `docker run --read-only` does."""


@dataclass(frozen=True)
class Image:
    """A folder that stands for the root of an image, and the image's environment."""

    root: Path
    environ: dict[str, str]

    def run(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the installed command with this folder as the only one that can be written."""
        command = [str(self.root / "opt/reconciler/bin/reconciler"), *words]
        if subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0:
            place = str(folder)
            command = ["unshare", "-m", "sh", "-ec", READ_ONLY, "-", place, place, *command]
        return subprocess.run(
            command, cwd=folder, env=self.environ, capture_output=True, text=True, check=False
        )


def context(into: Path) -> None:
    """Copy what the build is given: what the ignore file lets in."""
    ignore = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignore[1] == "*"
    for name in (line[1:] for line in ignore if line.startswith("!")):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, into / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, into / name)


def environ(stage: str, root: Path) -> dict[str, str]:
    """Return the variables that a stage sets."""
    told = " ".join(re.findall(r"(?m)^ENV (.*)$", stage))
    return {
        name: re.sub(r"/opt/", f"{root}/opt/", value).replace("$PATH", PATH)
        for name, _, value in (one.partition("=") for one in told.split())
    }


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """What the Dockerfile's steps make, run by a shell in a folder instead of an image."""
    root = tmp_path_factory.mktemp("image")
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    build, final = re.split(r"(?m)^FROM .*\n", text)[1:]
    (root / "tmp").mkdir()
    (root / "opt").mkdir()
    context(root / "src")
    own = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    around = {"PATH": PATH, "HOME": str(root), **own, **environ(build, root)}
    for script in re.findall(r"(?ms)^RUN (.*?[^\\])$", build):
        script = re.sub(r"(?<=[ >])/(opt|tmp)/", rf"{root}/\1/", script.replace("\\\n", ""))
        subprocess.run(
            ["sh", "-ec", script], cwd=root / "src", env=around, check=True, stdout=sys.stderr
        )
    return Image(root, {"PATH": PATH, **environ(final, root)})


def files(folder: Path) -> dict[str, tuple[int, float]]:
    """Return every file beneath a folder with its size and time."""
    found = [(path, path.lstat()) for path in folder.rglob("*")]
    return {str(path): (one.st_size, one.st_mtime) for path, one in found}


def test_the_image_has_the_checkout_s_wheel(image: Image, tmp_path: Path) -> None:
    """Built in the image or in the checkout, it is the same wheel, byte for byte."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    around = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    subprocess.run(build, cwd=ROOT, env=around, check=True, capture_output=True)
    (made,) = (image.root / "opt/wheel").iterdir()
    assert made.read_bytes() == (tmp_path / made.name).read_bytes()


def test_the_commands_work_where_nothing_else_can_be_written(image: Image, tmp_path: Path) -> None:
    """Version, schemas, a new workspace, its validation and its plan; the image stays as it is."""
    before = files(image.root / "opt/reconciler")
    told = {
        name: image.run(tmp_path, *words)
        for name, words in {
            "version": ["version", "--json"],
            "schema": ["schema", "workspace"],
            "init": ["init"],
            "validate": ["validate"],
            "plan": ["plan", "--format", "html"],
        }.items()
    }
    assert {name: (one.returncode, one.stderr) for name, one in told.items()} == dict.fromkeys(
        told, (0, "")
    )
    assert '"version"' in told["version"].stdout
    assert '"$schema"' in told["schema"].stdout
    assert (tmp_path / ".reconciler/schemas/workspace.schema.json").is_file()
    assert told["plan"].stdout.startswith("<!doctype html>")
    assert files(image.root / "opt/reconciler") == before


def test_the_demo_tells_its_story(image: Image, tmp_path: Path) -> None:
    """The whole of it, with an emulator, runs from the wheel, as its help says."""
    ended = image.run(tmp_path, "demo", "--keep", "story")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "story/reconciler.yaml").is_file()


def test_manual_and_completions_are_beside_the_command(image: Image) -> None:
    """They are where the README of the package says, beneath the environment."""
    readme = (ROOT / "reconciler/README.md").read_text(encoding="utf-8")
    share = image.root / "opt/reconciler/share"
    named = re.findall(r"\.venv/(share/[\w/.-]+reconciler(?:\.fish)?) ", readme)
    assert len(named) == 2
    assert all((share.parent / name).is_file() for name in named)
    assert (share / "zsh/site-functions/_reconciler").is_file()
    assert (share / "man/man1/reconciler.1").is_file()


def test_without_an_extra_the_core_works(image: Image, tmp_path: Path) -> None:
    """With only what the package itself requires, plans are made; what needs an extra says so."""
    (wheel,) = (image.root / "opt/wheel").iterdir()
    needed = subprocess.run(
        [sys.executable, ROOT / ".ci/lock.py", "--wheel", wheel],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (tmp_path / "needed.txt").write_text(needed, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    install = ["install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--find-links"]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", tmp_path / "venv/bin/python", *install),
            *(wheel.parent, "--requirement", tmp_path / "needed.txt"),
        ],
        check=True,
    )

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [tmp_path / "venv/bin/reconciler", *words],
            cwd=tmp_path,
            env={"PATH": PATH},
            capture_output=True,
            text=True,
            check=False,
        )

    for words in (["init"], ["validate"], ["plan"], ["state", "list"], ["providers"]):
        assert run(*words).returncode == 0
    for words in (["plan", "--format", "html"], ["demo"]):
        assert re.search(r"pip install 'im-reconciler\[\w+\]'", run(*words).stderr)
