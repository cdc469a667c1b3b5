"""fmt: one layout, comments kept, the same meaning; what does not read is told and left."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.edit.tidy import comments, tidy
from reconciler.errors import ConfigError
from reconciler.files import rewrite
from tests.world import World

ROOT = Path(__file__).parents[1]

UNTIDY = """\
---
# yaml-language-server: $schema=x

# about accounts
accounts:   # all of them

    # the bot
    bot:
        banned: {reason: 'spam', until: "2027-01-31T00:00:00Z", evidence: [a,
            b]   # ev
            }

        # profile comment
        profile:
            # name comment
            name:   007
            mobile: +8613800138000
            gender: 1
            sign: |  # literal
              one
                two

            extension: {level: 3, s: "3", t: "yes", u: yes, v: 1.0.0, w: 007, 'a b': [ x ,{y: z}]}

            # foot of profile
        # foot of bot


    no: {}
    1e5: {provider: [ cn-prod,
       sg ]}
    "q": { # inner
       profile: {name: "x: y", avatar: 'https://cdn.example.com/a.png?x=1'} }
    long:
        profile: {name: 客服客服客服客服客服客服客服客服客服客服客服,
            sign: 客服客服客服客服客服客服客服}
        labels: {z: 'it''s', a: 'say "hi"', b: "back\\\\slash", n: "null", t: "a\\tb", e: ''}
# defaults comment
defaults: {protected: false, provider: cn-prod,   labels: {a: b,}}
# the end
"""

TIDY = """\
# yaml-language-server: $schema=x

# about accounts
# defaults comment
defaults:
  provider: cn-prod
  protected: false
  labels: {a: b}
accounts:  # all of them
  # the bot
  bot:
    # profile comment
    profile:
      # name comment
      name: "007"
      sign: |  # literal
        one
          two
      mobile: "+8613800138000"
      gender: 1
      extension: {level: 3, s: "3", t: "yes", u: "yes", v: 1.0.0, w: "007", a b: [x, {"y": z}]}

      # foot of profile
    banned:
      reason: spam
      evidence: [a, b]  # ev
      until: 2027-01-31T00:00:00Z
    # foot of bot

  "no": {}
  "1e5":
    provider: [cn-prod, sg]
  q:
    # inner
    profile: {name: "x: y", avatar: "https://cdn.example.com/a.png?x=1"}
  long:
    labels: {z: it's, a: say "hi", b: back\\slash, "n": "null", t: "a\\tb", e: ""}
    profile:
      name: 客服客服客服客服客服客服客服客服客服客服客服
      sign: 客服客服客服客服客服客服客服
# the end
"""

WORKSPACE = """\
version: 1
rules:
- {id: r1, when: {action: [block]}, deny: "no: never"}   # careful
- when: {match: {labels.tier: vip}}
  id: r2
  warn: yes
workspace: "on"
providers: {cn-prod: {type: yunxin, endpoint: 'http://127.0.0.1:9', credentials: {app_key: "env:A",
    app_secret: env:B}, rate: 80.0}}
secrets: {allow: ["env:IM_*"]}
accounts: [ "accounts/**/*.yaml", {files: bans/*.csv, adopt: true} ]
"""

TIDY_WORKSPACE = """\
version: 1
rules:
  # careful
  - id: r1
    when: {action: [block]}
    deny: "no: never"
  - when: {match: {labels.tier: vip}}
    id: r2
    warn: "yes"
workspace: "on"
providers:
  cn-prod:
    type: yunxin
    endpoint: http://127.0.0.1:9
    credentials: {app_key: env:A, app_secret: env:B}
    rate: 80.0
secrets:
  allow: [env:IM_*]
accounts:
  - accounts/**/*.yaml
  - files: bans/*.csv
    adopt: true
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A workspace that is laid out, whose vendor is nowhere: fmt asks nobody."""
    world = World(tmp_path, "http://127.0.0.1:9")
    lay_out(world.root / "reconciler.yaml", "workspace")
    return world


def lay_out(path: Path, name: str = "accounts") -> None:
    """Lay a file out."""
    made = tidy(path.read_bytes(), path.name, name).text
    assert made is not None
    path.write_bytes(made)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("accounts", UNTIDY, TIDY), ("workspace", WORKSPACE, TIDY_WORKSPACE)],
)
def test_the_layout(name: str, before: str, after: str) -> None:
    """Indentation, styles, orders, quotes, comments and blank lines are settled, and stay so."""
    made = tidy(before.encode(), "a.yaml", name)
    assert made.findings == ()
    assert made.text is not None
    assert made.text.decode() == after
    assert tidy(made.text, "a.yaml", name).text == made.text
    assert comments(made.text) == comments(before.encode())
    windows = before.replace("\n", "\r\n").encode()
    assert tidy(windows, "a.yaml", name).text == made.text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("\n\n", ""),
        ("# only\n\n\n# this", "# only\n\n# this\n"),
        ("# one\n{ # two\n}\n# three\n", "# one\n# two\n# three\n"),
        (
            "# one\n{ # two\n  accounts: {}, # three\n  # four\n} # five\n# six\n...\n# seven\n",
            "# one\n# two\naccounts: {}  # three\n# four\n# five\n# six\n# seven\n",
        ),
        ("---\n# one\n# two\n", "# one\n# two\n"),
        (
            "accounts:\n  a: {banned: {evidence: [[ # one\n], {}]}}\n",
            "accounts:\n  a:\n    banned:\n      evidence:\n        # one\n        - []\n"
            "        - {}\n",
        ),
        (
            "accounts:\n  a: {labels: {until: '2027-01-01'}, banned: {until: '2027-01-01'}}\n",
            'accounts:\n  a:\n    labels: {until: "2027-01-01"}\n    banned: {until: 2027-01-01}\n',
        ),
        ("accounts:  {} # none", "accounts: {}  # none\n"),
        ("accounts: {\n # none\n}\n", "# none\naccounts: {}\n"),
        ("{accounts: {a: {}}}", "accounts:\n  a: {}\n"),
        ("accounts: {a: {}, # one\n b: {}}\n", "accounts:\n  a: {}  # one\n  b: {}\n"),
        ("accounts:\n  a:\n    labels: {}\n", "accounts:\n  a:\n    labels: {}\n"),
        (
            "accounts:\n  a: &x {banned: true, labels: {b: c}}\n  b: *x\n",
            "accounts:\n  a: &x\n    banned: true\n    labels: {b: c}\n  b: *x\n",
        ),
        (
            "accounts:\n  a: {labels: &l {b: &t c, d: *t}}\ndefaults: {labels: *l}\n",
            "accounts:\n  a:\n    labels: &l {b: &t c, d: *t}\ndefaults:\n  labels: *l\n",
        ),
        (
            "accounts:\n  a:\n    banned: {evidence: [x # one\n, z]}\n",
            "accounts:\n  a:\n    banned:\n      evidence:\n        - x  # one\n        - z\n",
        ),
        (
            "accounts:\n  a:\n    profile: {sign: 'two\n\n      lines'}\n",
            'accounts:\n  a:\n    profile: {sign: "two\\nlines"}\n',
        ),
        (
            "accounts:\n  a:\n    profile:\n      sign: |2+\n          x\n\n",
            'accounts:\n  a:\n    profile: {sign: "  x\\n\\n"}\n',
        ),
        (
            "accounts:\n  a:\n    banned: yes\n    token: x\n    provider: 7\n",
            'accounts:\n  a:\n    provider: "7"\n    token: x\n    banned: yes\n',
        ),
    ],
)
def test_unusual_files(before: str, after: str) -> None:
    """Empty files, brackets, anchors, odd scalars and mistakes that only validate knows."""
    made = tidy(before.encode(), "a.yaml")
    assert (made.text or b"").decode() == after, made.findings
    assert tidy(after.encode(), "a.yaml").text == after.encode()


def test_files_are_rewritten_and_keep_what_is_theirs(world: World) -> None:
    """fmt names what it changed; mode, links within the workspace, rows and the rest stay."""
    path = world.write("accounts/a.yaml", UNTIDY)
    path.chmod(0o640)
    world.write("shared/b.yaml", "accounts: {b: {}}\n")
    (world.root / "accounts/b.yaml").symlink_to("../shared/b.yaml")
    world.write("accounts/c.yaml", "accounts:\n  c: {}\n")
    before = (world.root / "accounts/c.yaml").stat()

    ended = world.run("fmt")

    assert (ended.code, ended.out) == (0, "accounts/a.yaml\naccounts/b.yaml\n")
    assert ended.err == "2 of 4 files laid out.\n"
    assert path.read_text() == TIDY
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (world.root / "accounts/b.yaml").is_symlink()
    assert (world.root / "shared/b.yaml").read_text() == "accounts:\n  b: {}\n"
    assert (world.root / "accounts/c.yaml").stat().st_ino == before.st_ino
    again = world.run("fmt", "--check")
    assert (again.code, again.out, again.err) == (0, "", "Nothing to lay out in 4 files.\n")


def test_check_and_diff_change_nothing(world: World) -> None:
    """--check names the untidy and is exit 2; --diff shows what `patch` takes, exit 0 alone."""
    path = world.write("accounts/a.yaml", UNTIDY)
    check = world.run("fmt", "--check")
    diff = world.run("fmt", "--diff")
    both = world.run("fmt", "--check", "--diff", "accounts")
    assert (check.code, check.out) == (2, "accounts/a.yaml\n")
    assert (diff.code, both.code) == (0, 2)
    assert both.out == diff.out
    assert path.read_text() == UNTIDY
    patch = shutil.which("patch")
    if patch is not None:
        subprocess.run([patch, "-p1", "-s"], input=diff.out, text=True, cwd=world.root, check=True)
        assert path.read_text() == TIDY


def test_what_does_not_read_is_told_and_the_rest_is_done(world: World) -> None:
    """Each file that does not read is named with its place and left; the others are laid out."""
    bad = {
        "tag": ("accounts:\n  a: !!str x\n", ":2:6: error: A tag stands here."),
        "twice": ("accounts:\n  a: {}\n  a: {}\n", ":3:3: error: The key 'a' stands here again."),
        "tab": ("accounts:\n\ta: {}\n", ":2:1: error:"),
        "open": ("accounts: {a: {\n", ":2:1: error: This is no YAML"),
        "two": ("a: 1\n---\nb: 2\n", ":2:1: error: A second document begins here."),
        "list": ("- a\n", ":1:1: error: The file is no mapping."),
        "zeros": ("\0\0\0\0", ":1:1: error: The file is UTF-16, or zeros"),
        "bom": ("\ufeffaccounts: {}\n", ":1:1: error: The file begins with a byte order mark."),
        "merge": ("accounts:\n  a: {<<: {}}\n", ":2:7: error: The merge key"),
    }
    for name, (text, _) in bad.items():
        world.write(f"accounts/{name}.yaml", text)
    (world.root / "accounts/out.yaml").symlink_to("/etc/hostname")
    (world.root / "accounts/gone.yaml").symlink_to("nowhere.yaml")
    os.mkfifo(world.root / "accounts/pipe.yaml")
    # The workspace file may be a link, too, if it stays within.
    (world.root / "reconciler.yaml").rename(world.root / "shared.yaml")
    (world.root / "reconciler.yaml").symlink_to("shared.yaml")
    with (world.root / "accounts/big.yaml").open("wb") as big:
        big.truncate((256 << 20) + 1)
    world.write("accounts/good.yaml", "accounts: {g: {}}\n")

    ended = world.run("fmt")

    assert ended.code == 1
    assert ended.out == "accounts/good.yaml\n"
    for name, (text, told) in bad.items():
        assert f"accounts/{name}.yaml{told}" in ended.err, name
        assert (world.root / f"accounts/{name}.yaml").read_text() == text
    for told in (
        "out.yaml: error: The link leaves the workspace.",
        "gone.yaml: error: The file cannot be read",
        "pipe.yaml: error: This is no regular file.",
        "big.yaml: error: The file has 268,435,457 bytes",
    ):
        assert f"accounts/{told}" in ended.err
    assert "Traceback" not in ended.err


def test_paths(world: World) -> None:
    """Files and folders may be named; foreign YAML, rows and links that leave are told and left."""
    world.write("accounts/a.yaml", "accounts: {a: {}}\n")
    world.write("accounts/sub/b.yaml", "accounts: {b: {}}\n")
    world.write("loose.yaml", "accounts: {c: {}}\n")
    world.write("ci.yaml", "on: {push: {}}\njobs: {}\n")
    world.write("accounts/rows.csv", "id\nx\n")
    (world.root / "away.yaml").symlink_to("/etc/hostname")

    some = world.run("fmt", "--check", "accounts/sub", "loose.yaml", "accounts/sub/b.yaml")
    others = world.run("fmt", "ci.yaml", "accounts/rows.csv", "away.yaml", "nowhere.yaml")
    (world.root / "reconciler.yaml").unlink()
    without = world.run("fmt", "loose.yaml")
    nothing = world.run("fmt")

    assert (some.code, some.out) == (2, "accounts/sub/b.yaml\nloose.yaml\n")
    assert (others.code, others.out) == (1, "")
    assert [line.partition(": error: ")[0] for line in others.err.splitlines()[::2]] == [
        *("accounts/rows.csv", "away.yaml", "nowhere.yaml", "ci.yaml"),
    ]
    assert world.write("x", "").exists()
    assert (without.code, without.out) == (0, "loose.yaml\n")
    assert nothing.code == 1
    assert "There is no reconciler.yaml" in nothing.err


def test_a_workspace_file_with_mistakes_is_laid_out_too(world: World) -> None:
    """What validate refuses fmt lays out; a glob without a match is a warning only."""
    world.write(
        "reconciler.yaml", "providers: {x: {type: nope}}\naccounts: [a/*.yaml, 7, b/*.yml]\n"
    )
    world.write("a/a.yaml", "accounts: {a: {nmae: x}}\n")

    ended = world.run("fmt")

    assert (ended.code, ended.out) == (0, "reconciler.yaml\na/a.yaml\n")
    assert "warning: No account file matches b/*.yml." in ended.err


def test_what_was_changed_meanwhile_is_left(tmp_path: Path) -> None:
    """A file that somebody changed after it was read is not overwritten; nor is a link."""
    path = tmp_path / "a.yaml"
    path.write_bytes(b"now")
    for before in (b"then", None):
        with pytest.raises(ConfigError, match="changed by somebody else"):
            rewrite(path, before, [b"new"])
    assert path.read_bytes() == b"now"
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    with pytest.raises(ConfigError, match="cannot be written"):
        rewrite(link, b"now", [b"new"])
    rewrite(path, b"now", [b"new"])
    assert [(one.name, one.read_bytes()) for one in sorted(tmp_path.iterdir())] == [
        ("a.yaml", b"new"),
        ("link.yaml", b"new"),
    ]
    fresh = tmp_path / "fresh.yaml"
    mask = os.umask(0o027)
    try:
        rewrite(fresh, None, [b"x"])
    finally:
        os.umask(mask)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o640


DYING = """import os, sys
from pathlib import Path
from reconciler import files
os.rename = lambda *_, **__: os._exit(9)
path = Path(sys.argv[1])
files.rewrite(path, path.read_bytes(), [b"half"])
"""


def test_a_killed_write_leaves_the_old_file(world: World) -> None:
    """What is killed before the rename leaves the file, and nothing that the next run minds."""
    path = world.write("accounts/a.yaml", UNTIDY)
    ended = subprocess.run([sys.executable, "-c", DYING, str(path)], check=False)
    assert ended.returncode == 9
    assert path.read_text() == UNTIDY
    assert world.run("fmt").code == 0
    assert path.read_text() == TIDY
    assert [one.name for one in path.parent.iterdir()] == ["a.yaml"]


def test_what_the_repository_shows_is_laid_out(tmp_path: Path) -> None:
    """The examples and what `init` writes are in the layout."""
    example = World(tmp_path / "example", "http://127.0.0.1:9")
    shutil.copytree(ROOT / "examples/yunxin", example.root, dirs_exist_ok=True)
    new = World(tmp_path / "new", "http://127.0.0.1:9")
    (new.root / "reconciler.yaml").unlink()
    assert new.run("init").code == 0
    for world in (example, new):
        ended = world.run("fmt", "--check", "--diff")
        assert (ended.code, ended.out) == (0, ""), ended.out


def test_the_readme_tells_the_layout() -> None:
    """The README's example of the layout is in it."""
    readme = (ROOT / "reconciler/edit/README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## One layout") :]
    found = re.search(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert tidy(found[1].encode(), "README.md").text == found[1].encode()
