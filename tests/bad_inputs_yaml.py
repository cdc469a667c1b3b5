"""Bad inputs 4 to 92 in YAML, as a table.

Each row is the number in the list, what stands in accounts/bad.yaml, where it is told, and what
is said.
"""

from __future__ import annotations

from bad_inputs import ALIAS_BOMB, MERGE_BOMB, A, name, one

SHAPE = [
    ("004-a-tilde", "~\n", "1:1", "The file is no mapping."),
    ("005-accounts-null", "accounts:\n", "1:1", "null is no value."),
    ("005-accounts-list", "accounts: []\n", "1:1", "A mapping is expected here."),
    ("005-accounts-text", "accounts: text\n", "1:1", "A mapping is expected here."),
    ("007-top-level-list", "- a\n- b\n", "1:1", "The file is no mapping."),
    (
        "008-two-documents",
        f"{A}  a: {{}}\n---\n{A}  b: {{}}\n",
        "3:1",
        "A second document begins here.",
    ),
    ("009-unknown-top-key", "acounts:\n  a: {}\n", "1:1", "There is no key 'acounts' here."),
    ("009-unknown-account-key", one("bannd: true"), "2:9", "There is no key 'bannd' here."),
    ("009-unknown-field", one("profile: {nmae: x}"), "2:19", "There is no key 'nmae' here."),
    (
        "010-same-id-in-a-file",
        f"{A}  a: {{}}\n  a: {{}}\n",
        "3:3",
        "The key 'a' stands here again.",
    ),
    (
        "011-same-id-across-files",
        one("", "kept"),
        "2:1",
        "The account cn-prod/kept is written twice.",
    ),
    (
        "012-truncated-quote",
        name('"open'),
        "4:13",
        "This is no YAML: found unexpected end of stream.",
    ),
    (
        "013-truncated-flow",
        f"{A}  a: {{profile: {{name: x}}\n",
        "3:1",
        "This is no YAML: did not find expected ',' or '}'.",
    ),
    (
        "014-conflict-markers",
        f"{A}<<<<<<< HEAD\n  a: {{}}\n=======\n  b: {{}}\n>>>>>>> x\n",
        "2:1",
        "A conflict marker of git stands here.",
    ),
]

TYPING = [
    ("019-time-as-id", one("", "12:30:45"), "2:3", "'12:30:45' is no account id in cn-prod."),
    ("020-minutes-as-id", one("", "22:22"), "2:3", "'22:22' is no account id in cn-prod."),
    ("028-empty-id", f"{A}  : {{}}\n", "2:3", "This is no YAML: did not find expected key."),
    ("028-null-name", one("profile: {name: null}"), "2:25", "null is no value."),
    ("028-tilde-name", one("profile: {name: ~}"), "2:25", "null is no value."),
    ("028-nothing-as-account", f"{A}  a:\n", "2:3", "null is no value."),
    ("028-null-profile", one("profile: null"), "2:18", "null is no value."),
    ("028-null-ban", one("banned: null"), "2:17", "null is no value."),
    ("028-null-label", one("labels: {team: Null}"), "2:24", "null is no value."),
    (
        "030-impossible-date",
        one("profile: {birthday: 2001-99-99}"),
        "2:29",
        "'2001-99-99' is no date.",
    ),
    (
        "032-digits-as-level",
        one("profile: {gender: " + "9" * 5000 + "}"),
        "2:27",
        f"{'9' * 80!r} is none of 0, 1, 2, unknown, male, female.",
    ),
    (
        "032-digits-as-version",
        one("token: {from: env:IM_TOKEN_A, version: " + "9" * 5000 + "}"),
        "2:48",
        "A whole number is expected here.",
    ),
    (
        "032-digits-as-name",
        name("9" * 5000),
        "4:13",
        "profile.name has 5000 characters; cn-prod takes 64.",
    ),
    (
        "034-quoted-false",
        one('banned: "false"'),
        "2:17",
        "True or false or a mapping is expected here.",
    ),
    ("034-yes", one("banned: yes"), "2:17", "True or false or a mapping is expected here."),
    ("034-True", one("banned: True"), "2:17", "True or false or a mapping is expected here."),
    ("034-one", one("banned: 1"), "2:17", "True or false or a mapping is expected here."),
]

MACHINERY = [
    (
        "035-duplicate-key",
        one("profile: {name: a, name: b}"),
        "2:28",
        "The key 'name' stands here again.",
    ),
    ("038-alias-bomb", ALIAS_BOMB + A + "  b: {}\n", "5:8", "Aliases stand for too many values."),
    ("039-merge-bomb", MERGE_BOMB + A + "  b: {}\n", "2:8", "The merge key << stands here."),
    ("040-list-of-itself", f"{A}  b: &l [*l]\n", "2:10", "*l refers to itself or to nothing."),
    (
        "041-map-of-itself",
        f"{A}  b: &m {{profile: *m}}\n",
        "2:19",
        "*m refers to itself or to nothing.",
    ),
    (
        "042-depth-100",
        f"{A}  b: {'[' * 100}{']' * 100}\n",
        "2:68",
        "More than 64 levels are nested here.",
    ),
    (
        "042-depth-1100",
        f"{A}  b: {'[' * 1100}{']' * 1100}\n",
        "2:1004",
        "More than 64 levels are nested here.",
    ),
    (
        "043-depth-50000",
        f"{A}  b: {'[' * 50000}{']' * 50000}\n",
        "2:1004",
        "More than 64 levels are nested here.",
    ),
    (
        "044-python-object",
        name("!!python/object/apply:os.system [id]"),
        "4:13",
        "A tag stands here.",
    ),
    ("045-python-name", name("!!python/name:os.system x"), "4:13", "A tag stands here."),
    ("046-include", name("!include /etc/passwd"), "4:13", "A tag stands here."),
    ("047-binary", name("!!binary aGk="), "4:13", "A tag stands here."),
    ("048-set", name("!!set {a}"), "4:13", "A tag stands here."),
    (
        "049-tag-directive",
        f"%TAG ! tag:x,2000:\n---\n{A}  b: {{}}\n",
        "1:1",
        "A % directive begins the file.",
    ),
    (
        "050-yaml-9",
        f"%YAML 9.9\n---\n{A}  b: {{}}\n",
        "1:1",
        "This is no YAML: found incompatible YAML document.",
    ),
    ("050-yaml-1", f"%YAML 1.1\n---\n{A}  b: {{}}\n", "1:1", "A % directive begins the file."),
    (
        "051-merge-key",
        f"{A}  a: &a {{banned: true}}\n  b:\n    <<: *a\n",
        "4:5",
        "The merge key << stands here.",
    ),
    ("053-list-as-key", f"{A}  [a]: {{}}\n", "2:3", "A key is no plain text."),
    ("053-map-as-key", f"{A}  ? {{a: b}}\n  : {{}}\n", "2:5", "A key is no plain text."),
]

BYTES = [
    (
        "055-byte-order-mark",
        f"\ufeff{A}  a: {{}}\n",
        "1:1",
        "The file begins with a byte order mark.",
    ),
    (
        "056-utf-16",
        f"{A}  a: {{}}\n".encode("utf-16"),
        "1:1",
        "The file is UTF-16, or zeros, but not UTF-8.",
    ),
    (
        "056-utf-16-without-mark",
        f"{A}  a: {{}}\n".encode("utf-16-le"),
        "1:1",
        "The file is UTF-16, or zeros, but not UTF-8.",
    ),
    ("057-latin-1", name("Café").encode("latin-1"), "4:16", "The byte 0xe9 is no UTF-8 here."),
    ("058-nul", name("a\0b"), "4:14", "The character U+0000 is not allowed."),
    ("059-escaped-nul", name(r'"\0"'), "4:13", "The text holds the character U+0000."),
    ("060-escaped-escape", name(r'"\e[2J"'), "4:13", "The text holds the character U+001B."),
    ("061-c1-csi", name("a\u009bb"), "4:14", "The character U+009B is not allowed."),
    (
        "062-line-separator-in-comment",
        f"# ok\u2028{A}  a: {{}}\n",
        "1:5",
        "The character U+2028 is not allowed.",
    ),
    (
        "063-line-separator-in-text",
        name("Alice\u2028    enabled: false"),
        "4:18",
        "The character U+2028 is not allowed.",
    ),
    ("064-paragraph-separator", name("a\u2029b"), "4:14", "The character U+2029 is not allowed."),
    ("065-next-line", name("a\u0085b"), "4:14", "The character U+0085 is not allowed."),
    ("066-bidi-override", name("a\u202eb"), "4:14", "The character U+202E is not allowed."),
    ("067-bidi-isolate", name("a\u2066b"), "4:14", "The character U+2066 is not allowed."),
    (
        "068-zero-width-space-in-id",
        f"{A}  a\u200bb: {{}}\n",
        "2:3",
        "'a\\u200bb' is no account id in cn-prod.",
    ),
    (
        "070-half-a-character",
        name(r'"\ud800"'),
        "4:16",
        "This is no YAML: found invalid Unicode character escape code.",
    ),
    (
        "070-half-a-character-raw",
        name("x").encode().replace(b"x", b"\xed\xa0\x80"),
        "4:13",
        "The byte 0xed is no UTF-8 here.",
    ),
    (
        "071-nfc-and-nfd-id",
        f"{A}  caf\u00e9: {{}}\n  cafe\u0301: {{}}\n",
        "3:3",
        "The key 'café' stands here again.",
    ),
    ("072-cyrillic-a", f"{A}  \u0430lice: {{}}\n", "2:3", "'аlice' is no account id in cn-prod."),
    ("073-full-width-a", f"{A}  \uff41: {{}}\n", "2:3", "'ａ' is no account id in cn-prod."),
    ("074-dotted-i", f"{A}  \u0130: {{}}\n", "2:3", "'İ' is no account id in cn-prod."),
    ("074-dotless-i", f"{A}  \u0131: {{}}\n", "2:3", "'ı' is no account id in cn-prod."),
    ("074-sharp-s", f"{A}  \u00df: {{}}\n", "2:3", "'ß' is no account id in cn-prod."),
    ("074-kelvin-sign", f"{A}  \u212a: {{}}\n", "2:3", "'K' is no account id in cn-prod."),
    ("075-lone-carriage-returns", f"{A}\r  a: {{}}\r", "2:1", "A carriage return stands alone."),
    (
        "076-many-combining-marks",
        name("e" + "\u0301" * 100_000),
        "4:13",
        "profile.name has 100001 characters; cn-prod takes 64.",
    ),
]

FIELDS = [
    (
        "077-ids-that-fold-together",
        f"{A}  Alice: {{}}\n  alice: {{}}\n",
        "3:1",
        "The account cn-prod/alice is written twice.",
    ),
    (
        "078-33-characters",
        one("", "x" * 33),
        "2:3",
        "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' is no account id in cn-prod.",
    ),
    ("080-empty-id", one("", '""'), "2:3", "'' is no account id in cn-prod."),
    ("081-space-in-id", one("", "a b"), "2:3", "'a b' is no account id in cn-prod."),
    ("081-space-behind-id", one("", '"a "'), "2:3", "'a ' is no account id in cn-prod."),
    ("082-path-as-id", one("", "../x"), "2:3", "'../x' is no account id in cn-prod."),
    ("083-url-as-id", one("", "a/b?c#d"), "2:3", "'a/b?c#d' is no account id in cn-prod."),
    ("084-percent-id", one("", '"%2e%2e"'), "2:3", "'%2e%2e' is no account id in cn-prod."),
    (
        "085-at-sign-unquoted",
        one("", "@foo"),
        "2:3",
        "This is no YAML: found character that cannot start any token.",
    ),
    ("087-crlf-in-name", name(r'"a\r\nb"'), "4:13", "The text holds the character U+000D."),
    (
        "089-ten-megabytes",
        name("x") + "      extension: " + "x" * 10_000_000 + "\n",
        "5:18",
        "profile.extension has 10000000 characters; cn-prod takes 1024.",
    ),
    (
        "090-extension-with-null",
        one("profile: {extension: {a: null}}"),
        "2:34",
        "null is no value.",
    ),
    (
        "090-extension-with-fraction",
        one("profile: {extension: {a: 1.5}}"),
        "2:34",
        "'1.5' is a number that JSON readers may change.",
    ),
    (
        "091-javascript-avatar",
        one('profile: {avatar: "javascript:alert(1)"}'),
        "2:27",
        "'javascript:alert(1)' is no https address.",
    ),
    (
        "091-file-avatar",
        one("profile: {avatar: file:///etc/passwd}"),
        "2:27",
        "'file:///etc/passwd' is no https address.",
    ),
    (
        "091-avatar-with-user",
        one("profile: {avatar: http://user:pw@169.254.169.254/}"),
        "2:27",
        "The address holds a user name, a space or a backslash.",
    ),
    (
        "091-data-avatar",
        one('profile: {avatar: "data:text/html,x"}'),
        "2:27",
        "'data:text/html,x' is no https address.",
    ),
    ("092-february-30", one("profile: {birthday: 2023-02-30}"), "2:29", "'2023-02-30' is no date."),
]
