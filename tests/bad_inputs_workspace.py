"""Bad inputs in reconciler.yaml, as a table.

Each row is the number in the list, what the file holds, where it is told, and what is said.
"""

from __future__ import annotations

from bad_inputs import ALIAS_BOMB, MERGE_BOMB

W = """\
version: 1
workspace: test-im
providers:
  cn:
    type: yunxin
    region: china
    credentials: {app_key: env:K, app_secret: env:S}
"""


WORKSPACE = [
    ("001-empty", "", "1:1", "The key 'version' is missing."),
    ("004-a-tilde", "~\n", "1:1", "The file is no mapping."),
    ("007-top-level-list", "- a\n", "1:1", "The file is no mapping."),
    ("008-two-documents", f"{W}---\n{W}", "8:1", "A second document begins here."),
    ("009-unknown-key", f"{W}acounts: []\n", "8:1", "There is no key 'acounts' here."),
    (
        "012-truncated-quote",
        f'{W}on_absent: "forget\n',
        "8:12",
        "This is no YAML: found unexpected end of stream.",
    ),
    (
        "013-truncated-flow",
        f"{W}accounts: [a\n",
        "9:1",
        "This is no YAML: did not find expected ',' or ']'.",
    ),
    ("014-conflict-markers", f"{W}<<<<<<< HEAD\n", "8:1", "A conflict marker of git stands here."),
    (
        "024-nan-rate",
        W.replace("type: yunxin", "type: yunxin\n    rate: .nan"),
        "6:11",
        "A number is expected here.",
    ),
    (
        "023-infinite-rate",
        W.replace("type: yunxin", "type: yunxin\n    rate: .inf"),
        "6:11",
        "A number is expected here.",
    ),
    (
        "022-1e5-concurrency",
        W.replace("type: yunxin", "type: yunxin\n    concurrency: 1e5"),
        "6:18",
        "A whole number is expected here.",
    ),
    (
        "025-norway",
        W.replace("type: yunxin", "type: yunxin\n    allow_http: no"),
        "6:17",
        "True or false is expected here.",
    ),
    (
        "028-null-providers",
        "version: 1\nworkspace: a\nproviders: null\n",
        "3:12",
        "null is no value.",
    ),
    ("028-null-state", f"{W}state: null\n", "8:8", "null is no value."),
    (
        "032-digits",
        f"{W}limits: {{block: {{count: {'9' * 5000}}}}}\n",
        "8:25",
        "A whole number is expected here.",
    ),
    (
        "034-quoted-true",
        W.replace("type: yunxin", 'type: yunxin\n    allow_http: "true"'),
        "6:17",
        "True or false is expected here.",
    ),
    (
        "035-duplicate-key",
        f"{W}workspace: other\n",
        "8:1",
        "The key 'workspace' stands here again.",
    ),
    ("038-alias-bomb", W + ALIAS_BOMB, "12:8", "Aliases stand for too many values."),
    ("039-merge-bomb", W + MERGE_BOMB, "9:8", "The merge key << stands here."),
    ("040-list-of-itself", f"{W}rules: &r [*r]\n", "8:12", "*r refers to itself or to nothing."),
    ("042-depth-100", f"{W}rules: {'[' * 100}\n", "8:70", "More than 64 levels are nested here."),
    (
        "042-depth-1100",
        f"{W}rules: {'[' * 1100}\n",
        "8:1007",
        "More than 64 levels are nested here.",
    ),
    (
        "043-depth-50000",
        f"{W}rules: {'[' * 50000}\n",
        "8:1007",
        "More than 64 levels are nested here.",
    ),
    (
        "044-python-object",
        f"{W}on_absent: !!python/object/apply:os.system [id]\n",
        "8:12",
        "A tag stands here.",
    ),
    ("046-include", f"{W}on_absent: !include /etc/passwd\n", "8:12", "A tag stands here."),
    ("049-tag-directive", f"%TAG ! tag:x,2000:\n---\n{W}", "1:1", "A % directive begins the file."),
    ("051-merge-key", f"{W}limits: {{<<: {{}}}}\n", "8:10", "The merge key << stands here."),
    ("053-list-as-key", f"{W}[a]: b\n", "8:1", "A key is no plain text."),
    ("055-byte-order-mark", f"\ufeff{W}", "1:1", "The file begins with a byte order mark."),
    ("056-utf-16", W.encode("utf-16"), "1:1", "The file is UTF-16, or zeros, but not UTF-8."),
    ("057-latin-1", f"{W}# Café\n".encode("latin-1"), "8:6", "The byte 0xe9 is no UTF-8 here."),
    ("058-nul", f"{W}# \0\n", "8:3", "The character U+0000 is not allowed."),
    ("059-escaped-nul", f'{W}on_absent: "\\0"\n', "8:12", "The text holds the character U+0000."),
    (
        "062-line-separator",
        f"{W}# \u2028on_absent: block\n",
        "8:3",
        "The character U+2028 is not allowed.",
    ),
    ("066-bidi-override", f"{W}# \u202e\n", "8:3", "The character U+202E is not allowed."),
    (
        "070-half-a-character",
        f'{W}on_absent: "\\ud800"\n',
        "8:15",
        "This is no YAML: found invalid Unicode character escape code.",
    ),
    ("075-lone-carriage-return", f"{W}\r", "8:1", "A carriage return stands alone."),
    (
        "073-full-width-name",
        W.replace("test-im", "\uff41"),
        "2:12",
        "'ａ' does not have the form asked for here.",
    ),
    (
        "082-path-as-a-name",
        W.replace("test-im", "../x"),
        "2:12",
        "'../x' does not have the form asked for here.",
    ),
    (
        "082-glob-outside",
        f"{W}accounts: [../x/*.yaml]\n",
        "8:12",
        "The glob ../x/*.yaml leaves the workspace.",
    ),
    (
        "091-endpoint-with-user",
        W.replace("region: china", "endpoint: https://u:p@host"),
        "6:15",
        "The endpoint holds a user name, a query or a fragment.",
    ),
    (
        "091-endpoint-elsewhere",
        W.replace("region: china", "endpoint: http://169.254.169.254"),
        "6:15",
        "The endpoint is plain http to another machine.",
    ),
    (
        "091-file-endpoint",
        W.replace("region: china", "endpoint: file:///etc/passwd"),
        "6:15",
        "The endpoint is no http or https address.",
    ),
]
