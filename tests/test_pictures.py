"""The pictures of the READMEs are of what the program prints now."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples/pictures"


def test_the_pictures_are_made_of_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made anew, on a terminal and as a page, each is byte by byte the one that is kept.

    The PNG, which no two browsers make alike, says of which page it is.
    """
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    monkeypatch.setenv("CI", "1")  # a terminal is a terminal wherever the pictures are made
    pictures = importlib.import_module("pictures")
    made = dict(pictures.shown())
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"run .ci/pictures.py: {name}"
        if name.endswith(".svg"):
            drawn = "".join(ElementTree.fromstring(text).itertext())
            assert drawn.endswith("1 to forget, 1 to adopt.\n")
            assert "\N{ESCAPE}" not in drawn
    picture = (FOLDER / "plan.png").read_bytes()
    assert pictures.of(made["plan.html"].encode()) in picture[:200], "run .ci/pictures.py: plan.png"
    assert {path.name for path in FOLDER.iterdir()} == {*made, "plan.png"}


@pytest.mark.parametrize("name", ["README.md", "examples/README.zh-CN.md"])
def test_the_pictures_are_shown(name: str) -> None:
    """Each README shows a terminal and the page, by a path that is there, and describes them."""
    file = ROOT / name
    found = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", file.read_text(encoding="utf-8"))
    assert {Path(path).suffix for _, path in found} >= {".svg", ".png"}
    for told, path in found:
        assert told
        assert (file.parent / path).is_file(), path
