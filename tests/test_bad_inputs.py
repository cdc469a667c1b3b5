"""Bad inputs 1 to 92 in YAML: each is told with its place, in words, and nothing is touched."""

from __future__ import annotations

import pytest
from bad_inputs import A, Untouched, harmless, name, one, put, refused
from bad_inputs_yaml import BYTES, FIELDS, MACHINERY, SHAPE, TYPING

from tests.world import World

pytest_plugins = ["spoilt_workspace"]


@pytest.mark.parametrize(
    ("content", "place", "says"),
    [
        pytest.param(*case[1:], id=case[0])
        for case in (*SHAPE, *TYPING, *MACHINERY, *BYTES, *FIELDS)
    ],
)
def test_a_bad_input_is_told_with_its_place(spoilt: World, content, place, says) -> None:
    """Each one is exit 1 with its place and a hint, at validate and apply, and changes nothing."""
    put(spoilt.root, "accounts/bad.yaml", content)
    with Untouched(spoilt):
        told = refused(spoilt, ("validate",), 1, f"accounts/bad.yaml:{place}: error: {says}\n")
        refused(spoilt, ("apply", "--auto-approve"), 1, f"accounts/bad.yaml:{place}: error:")
    assert "\n    hint: " in told.err


# The number in the list, what stands in the file, the id, and the name or the whole profile.
KEPT = [
    ("001-empty", "", "", {}),
    ("002-comment-only", "# nothing\n", "", {}),
    ("003-empty-document", "---\n...\n", "", {}),
    ("006-no-accounts", "accounts: {}\n", "", {}),
    ("015-007", one("", "007"), "007", {}),
    ("016-0777", one("", "0777"), "0777", {}),
    ("017-0o17", one("", "0o17"), "0o17", {}),
    ("018-1_000", one("", "1_000"), "1_000", {}),
    ("019-time-as-name", name("12:30:45"), "bot", {"name": "12:30:45"}),
    ("020-minutes-as-name", name("22:22"), "bot", {"name": "22:22"}),
    ("021-0x1f", one("", "0x1f"), "0x1f", {}),
    ("021-0x1F-as-name", name("0x1F"), "bot", {"name": "0x1F"}),
    ("022-1e5", one("", "1e5"), "1e5", {}),
    ("023-inf", one("", ".inf"), ".inf", {}),
    ("024-nan", one("", ".nan"), ".nan", {}),
    ("025-no", one("", "no"), "no", {}),
    ("025-NO-as-name", name("NO"), "bot", {"name": "NO"}),
    ("026-on", one("", "on"), "on", {}),
    ("027-y", one("", "y"), "y", {}),
    ("028-null-id", one("", "null"), "null", {}),
    ("028-quoted-null", name('"null"'), "bot", {"name": "null"}),
    ("029-date-as-id", one("", "2001-01-01"), "2001-01-01", {}),
    ("029-date-as-name", name("2001-01-01"), "bot", {"name": "2001-01-01"}),
    (
        "031-mobile-unquoted",
        one("profile: {mobile: +8613800138000}"),
        "bot",
        {"mobile": "+8613800138000"},
    ),
    ("032-sixty-digits", name("9" * 60), "bot", {"name": "9" * 60}),
    ("033-comment-behind-a-name", name("a #b"), "bot", {"name": "a"}),
    ("033-hash-within-a-name", name("a#b"), "bot", {"name": "a#b"}),
    ("036-one-and-one-point-nought", f"{A}  1: {{}}\n  1.0: {{}}\n", "1.0", {}),
    ("037-true-and-one", f"{A}  true: {{}}\n  1: {{}}\n", "true", {}),
    ("052-equals-sign", name("="), "bot", {"name": "="}),
    (
        "069-joined-emoji",
        name("\U0001f469\u200d\U0001f4bb"),
        "bot",
        {"name": "\U0001f469\u200d\U0001f4bb"},
    ),
    ("085-quoted-at-sign", one("", '"@foo"'), "@foo", {}),
    ("086-leading-dash", one("", "-x"), "-x", {}),
    ("088-formula", name("=cmd()"), "bot", {"name": "=cmd()"}),
    (
        "090-extension-that-is-no-json",
        one("profile: {extension: '{broken'}"),
        "bot",
        {"extension": "{broken"},
    ),
]


@pytest.mark.parametrize(
    ("content", "id", "profile"), [pytest.param(*case[1:], id=case[0]) for case in KEPT]
)
def test_what_is_written_is_kept(spoilt: World, content, id, profile) -> None:
    """Texts and ids that YAML retypes elsewhere are kept as they are written."""
    put(spoilt.root, "accounts/bad.yaml", content)
    with Untouched(spoilt):
        assert spoilt.run("validate").code == 0
        planned = spoilt.run("plan", "--json")
    harmless(planned)
    made = {action["account_id"]: action["changes"] for action in planned.json["actions"]}
    if not id:
        assert not made
        return
    fields = {f"profile.{field}": text for field, text in profile.items()}
    assert {change["path"]: change["after"] for change in made[id]} == fields
    assert "kept" not in made


def test_079_bytes_count_where_the_vendor_counts_bytes(spoilt: World) -> None:
    """32 characters of three bytes each are too long an id, and say so, where bytes count."""
    id = "\u597d" * 32
    put(
        spoilt.root,
        "reconciler.yaml",
        "version: 1\nworkspace: test-im\nproviders:\n  sg:\n    type: tencent\n"
        "    region: singapore\n    credentials: {sdk_app_id: '1', admin: a, secret_key: env:K}\n",
    )
    put(spoilt.root, "accounts/bad.yaml", one("", id))
    refused(
        spoilt,
        ("validate",),
        1,
        f"accounts/bad.yaml:2:3: error: {id!r} is no account id in sg.",
    )


def test_054_a_file_of_a_gigabyte_is_refused_unread(spoilt: World) -> None:
    """A file of a gigabyte is refused by its size, whatever stands in it."""
    with open(spoilt.root / "accounts/bad.yaml", "wb") as file:
        file.truncate(1 << 30)
    refused(
        spoilt,
        ("validate",),
        1,
        "accounts/bad.yaml: error: The file has 1,073,741,824 bytes; 268,435,456 is the most.",
    )
    (spoilt.root / "accounts/bad.yaml").unlink()
