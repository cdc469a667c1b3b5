"""A release: everything it holds, built into a folder, and nothing sent anywhere.

    .venv/bin/python .ci/release.py FOLDER [TAG]

The tag has to be the version's, and the changelog has to tell of it; without a tag it is a trial.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import lock
import sbom


def build(source: Path, folder: Path, *targets: str) -> None:
    """Build the sdist and the wheel of a source tree, or just one of them."""
    words = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    around = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    chosen = [word for target in targets for word in ("--target", target)]
    subprocess.run([*words, *chosen], cwd=source, env=around, stdout=sys.stderr, check=True)


def unpack(sdist: Path, folder: Path) -> None:
    """Unpack an sdist; Python asks for a filter from 3.12 on, and some of 3.11 have none."""
    with tarfile.open(sdist) as archive:
        if sys.version_info >= (3, 12):
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)  # noqa: S202 (it was made here, a moment ago)


def built_again(sdist: Path) -> bytes:
    """Return the wheel that somebody gets who builds it from the sdist."""
    with tempfile.TemporaryDirectory() as name:
        unpack(sdist, Path(name))
        build(Path(name, sdist.name.removesuffix(".tar.gz")), Path(name), "wheel")
        (wheel,) = Path(name).glob("*.whl")
        return wheel.read_bytes()


def notes(version: str) -> str:
    """Return what the changelog says of a version. Raises SystemExit if it says nothing."""
    text = (lock.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"(?ms)^## {re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)", text)
    if found is None:
        sys.exit(f"CHANGELOG.md has no section for {version}")
    return found[1].strip() + "\n"


def main() -> None:
    """Build, compare, and write what goes with it."""
    folder, tag = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    version = sbom.version()
    if tag and tag != f"v{version}":
        sys.exit(f"the tag {tag} is not of this version, {version}")
    told = notes(version) if tag else ""
    build(lock.ROOT, folder.absolute())
    stem = folder / f"im_reconciler-{version}"
    wheel, sdist = Path(f"{stem}-py3-none-any.whl"), Path(f"{stem}.tar.gz")
    if built_again(sdist) != wheel.read_bytes():
        sys.exit("the wheel is not the one that the sdist builds")
    bom = json.dumps(sbom.bom(), indent=1)
    Path(f"{stem}.cdx.json").write_text(bom + "\n", encoding="utf-8")
    needed = lock.of_wheel(wheel) + lock.text(lock.asked(lock.extras()))
    Path(f"{stem}-requirements.txt").write_text(needed, encoding="utf-8")
    sums = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        for file in sorted(folder.iterdir())
    ]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    if told:
        (folder / "NOTES.md").write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
