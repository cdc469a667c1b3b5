"""Phrases: each is there in each language, with the same values, and each is used."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from golden_plans import ZH, drifted, small

import reconciler
from reconciler.changes import Kind, Reason
from reconciler.cli import arguments
from reconciler.views import text
from reconciler.views.phrases import LANGUAGES, PHRASES, Speech

HAN = re.compile("[\u4e00-\u9fff：、；。]")


def names(template):
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@pytest.mark.parametrize("key", PHRASES)
def test_no_phrase_lacks_a_translation(key):
    """Both languages say something, with the same values; Chinese is not English left over."""
    english, chinese = PHRASES[key]
    forms = english.split(" | ")
    assert all(names(form) == names(chinese) for form in forms)
    assert len(forms) in (1, 2)
    assert not HAN.search(english)
    if re.search("[a-z]{3}", re.sub(r"\{.*?\}", "", english)):
        assert HAN.search(chinese)
    if " | " in english:
        assert "n" in names(english)


def test_every_kind_and_reason_has_a_phrase():
    """Whatever a plan may hold can be said."""
    assert {*map(str, Kind), *map(str, Reason)} <= PHRASES.keys()


def test_no_phrase_is_left_over():
    """Each phrase is named somewhere in the views, or is a kind, a reason or a kind of drift."""
    folder = Path(reconciler.__file__).parent / "views"
    files = [*folder.glob("*.py"), *folder.glob("pages/*")]
    source = "".join(
        file.read_text().split("PHRASES: Final")[0]
        if file.name != "phrases.py"
        else file.read_text().split("REASONS: Final")[1]
        for file in files
    )
    used = set(re.findall(r"""["']([a-z_]+)["']""", source))
    # Some are made of a beginning and what is told: `f"cause_{cause}"`, `f"{what}_title"`.
    begun = tuple(re.findall(r"""f["']([a-z]+_)\{""", source))
    ended = tuple(re.findall(r"""f["']\{\w+\}(_[a-z]+)["']""", source))
    left = {key for key in PHRASES.keys() - used if not key.startswith(begun)}
    left = {key for key in left if not key.endswith(ended)}
    assert left <= {*map(str, Kind), *map(str, Reason), "changed", "missing"}


def test_the_command_line_offers_the_languages_there_are():
    """`--lang` takes what the phrases are written in."""
    assert arguments._LANGUAGES == LANGUAGES


def test_one_and_many():
    """English tells one from many, and thousands are told apart."""
    say = Speech()
    assert say("block", n=1) == "Block 1 account"
    assert say("block", n=2000) == "Block 2,000 accounts"
    assert ZH("block", n=2000) == "封禁 2,000 个账号"


def test_text_keeps_its_last_line_in_each_language():
    """The count of a plan is fixed; a drift report ends in the reader's language."""
    made, judged = small()
    lines = [list(text.plan(made, judged.approvals, say=say)) for say in (Speech(), ZH)]
    assert lines[0][-1] == lines[1][-1]
    assert "封禁 3 个账号" in "\n".join(lines[1])
    assert [*text.drift(drifted(), say=ZH)][-1] == "漂移：1 个不一致，1 个缺失，1 个一致。"
