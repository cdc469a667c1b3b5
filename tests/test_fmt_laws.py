"""Laws of the layout, over files that people and fuzzers write: it says the same, and stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from config_capabilities import BOTH, TABLES
from config_files import write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_config_agree import FLOW, KEY, SCALAR, careful, files, valid

from reconciler.config import load
from reconciler.config.judge import Judge
from reconciler.edit.compare import compare
from reconciler.edit.texts import key, written
from reconciler.edit.tidy import comments, tidy
from reconciler.views.words import harmless

COMMENTED = [
    """\
# head

# second
accounts:   # all
    a:  # the a
        # above
        profile:   {name: "x",   # name
           sign: ' ',
           }  # end
        # foot a

    # about b

    b: {banned: {reason: spam, evidence: [a,
       # why
       b]}, labels: {x: y}}


    c:
        banned:
            evidence:
            - one  # 1
            # two
            - two
        labels: &l {team: a}
        profile:
            sign: |-  # literal
                line one
                  line two

                line three
            extension: {a: 1, b: "1", c: [x, {y: z}]}
    d: {}
    e:
        labels: *l
# foot
defaults:
  provider: [cn,sg]
# end""",
    """\
accounts: {a: {provider: cn, profile: {name: x}}, # one
  # two
  b: {provider: sg}, c: {  # three
  }}  # four

# five
""",
    """\
# one
{ # two
  accounts: {a: {provider: cn, # three
    banned: {reason: x, evidence: [ # four
      ]}}
    # five
    }, # six
  # seven
} # eight
# nine
...
# ten
""",
]
HARD = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def commented(draw):
    """Draw a file with comments everywhere, and a few edits where they may do harm."""
    text = draw(st.sampled_from(COMMENTED))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        edit = draw(st.sampled_from(["\n", " # c\n", "#", " ", "  ", "\n\n", ",", "{", "}", "x"]))
        text = text[:at] + edit + text[at + draw(st.sampled_from([0, 0, 1, 3])) :]
    return text


SECTION = st.tuples(KEY, SCALAR, KEY, SCALAR, st.sampled_from(["labels", "profile", "banned"])).map(
    lambda drawn: "accounts:\n  a:\n    {4}:\n       {0}: {1}\n       {2}: {3}\n".format(*drawn)
)
EXTENSION = FLOW.map(lambda value: f"accounts:\n  a:\n    profile: {{extension: {{k: {value}}}}}\n")


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """What judges accounts of a workspace with two apps."""
    root: Path = tmp_path_factory.mktemp("workspace")
    write(root, {}, BOTH)
    workspace = load(root, capabilities=TABLES.get)
    return lambda: Judge(
        workspace, {name: TABLES[app.type] for name, app in workspace.apps.items()}
    )


@HARD
@given(text=st.one_of(files(), commented(), SECTION, EXTENSION))
def test_a_file_says_the_same_in_its_layout(judge, text):
    """What reads is laid out: same accounts and findings, same comments; once more changes nothing.

    The quick way and the thorough one agree; what does not read has a finding from the reader too.
    """
    data = text.encode(errors="replace")
    made = tidy(data, "a.yaml")
    accounts, findings = careful(judge(), data.decode())
    if made.text is None:
        assert not {one.id for one in made.findings} & {"not-the-same", "comment-lost"}, text
        assert findings, text
        return
    again, told = careful(judge(), made.text.decode())
    assert [one[:3] + one[5:] for one in accounts] == [one[:3] + one[5:] for one in again], text
    assert sorted(one.id for one in findings) == sorted(one.id for one in told), text
    assert comments(data) == comments(made.text), text
    # However a comment is found there, none is longer than its line or begins elsewhere.
    assert sum(comments(data).values()) <= text.count("#")
    assert tidy(made.text, "a.yaml").text == made.text, text
    thorough = tidy(data, "a.yaml", ours=False)
    assert thorough.text == made.text or thorough.findings[0].id == "foreign-file", text


@pytest.mark.parametrize("text", COMMENTED)
def test_every_comment_is_kept(text):
    """Whatever finds comments in the text itself finds the same ones in the layout."""
    made = tidy(text.encode(), "a.yaml").text
    assert made is not None
    assert sorted(re.findall(r"# \w+", made.decode())) == sorted(re.findall(r"# \w+", text))


@HARD
@given(
    accounts=st.dictionaries(
        st.from_regex(r"[a-z0-9_-]{1,9}", fullmatch=True), valid(), min_size=1, max_size=3
    ),
    styles=st.tuples(st.booleans() | st.none(), st.booleans() | st.none()),
    width=st.sampled_from([40, 10_000]),
)
def test_there_is_one_layout(accounts, styles, width):
    """However the same accounts were styled, without comments there is one text of them."""
    made = []
    for style in styles:
        text = yaml.dump(
            {"accounts": accounts},
            Dumper=yaml.CSafeDumper,
            allow_unicode=True,
            default_flow_style=style,
            width=width,
            sort_keys=False,
        )
        if re.search("[\x80-\x9f]", text):
            return
        made.append(tidy(text.encode(), "a.yaml").text)
    assert made[0] == made[1] is not None


LETTERS = "ab:#-?!&*[]{},'\"\\|>%@`=<~017_.eE+x \n\t客é\u200b\u00a0\u3000"
WORDS = """
no On y ~ null 007 1e5 0x1F 0o7 1_000 1,000 12:30:45 .inf -.5 2001-01-01 << = ::set-output ##[group]
##vso[x] https://x/y?z=1#f +8613800138000 --- ...
"""
TEXTS = st.one_of(
    st.text(st.sampled_from(LETTERS), max_size=7),
    st.sampled_from([*WORDS.split(), "2001-1-1 10:00:00Z", "a ::b", "a b"]),
)


@settings(max_examples=600, deadline=None)
@given(text=TEXTS, flow=st.booleans())
def test_every_reader_reads_the_text(text, flow):
    """YAML 1.1 reads a written text as just that text, and on a terminal or in CI it stays it."""
    value, name = written(text, flow=flow), key(text, flow=flow)
    line = f"{{k: {value}, l: 1}}\n" if flow else f"k: {value}\nl: 1\n"
    named = f"{{{name}: 1, l: 2}}\n" if flow else f"{name}: 1\nl: 2\n"
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        held = yaml.load(line, Loader=loader)
        assert held["k"] == text
        assert isinstance(held["k"], str)
        assert list(yaml.load(named, Loader=loader)) == [text, "l"]
    assert harmless(line) == line


@pytest.mark.parametrize(
    "text",
    [
        "spam",
        "a b",
        "user-1",
        "a.b@c",
        "客服",
        "x1",
        "1x",
        "1.2.3",
        "env:IM_TOKEN_A",
        "https://a/b",
    ],
)
def test_plain_texts_have_no_quotes(text):
    """A text that every reader reads as that text stands without quotes, also as a key."""
    assert written(text) == written(text, flow=True) == text
    assert key(text) == text or ":" in text


@settings(max_examples=300, deadline=None)
@given(
    old=st.lists(st.sampled_from(["a", "b", "c", "d", ""]), max_size=30),
    new=st.lists(st.sampled_from(["a", "b", "c", "e", ""]), max_size=30),
    ends=st.tuples(st.booleans(), st.booleans()),
)
def test_a_diff_leads_from_one_text_to_the_other(old, new, ends):
    """Applying the hunks of a diff to the old text gives the new one; equal texts have none."""
    before, after = (
        "".join(f"{line}\n" for line in lines).removesuffix("" if end else "\n")
        for lines, end in zip((old, new), ends, strict=True)
    )
    diff = list(compare("x", before.encode(), after.encode()))
    assert applied(before, diff) == after
    assert (diff == []) is (before == after)


def applied(before: str, diff: list[str]) -> str:
    """Apply a unified diff, strictly: what it says of the old text must hold."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", before)
    text = "\n".join(diff[2:]).replace("\n\\ No newline at end of file", "\0")
    made: list[str] = []
    at = 0
    for line in text.split("\n") if text else []:
        if found := re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line):
            start = int(found[1]) - (found[2] != "0")
            made += lines[at:start]
            at = start
            continue
        body = line[1:-1] if line.endswith("\0") else f"{line[1:]}\n"
        if line[0] != "+":
            assert lines[at] == body
            at += 1
        if line[0] != "-":
            made.append(body)
    return "".join((*made, *lines[at:]))
