"""Bad inputs in JSON, JSON lines and CSV, as tables.

Each row is the number in the list, what stands in the file, where it is told, and what is said.
"""

from __future__ import annotations


def profile(field: str, value: str) -> str:
    """Return a JSON file with one account whose profile holds one field, as written."""
    return '{"accounts": {"bot": {"profile": {"' + field + '": ' + value + "}}}}"


JSON = [
    ("005-accounts-null", '{"accounts": null}', "1:2", "null is no value."),
    ("007-top-level-list", "[]", "1:1", "The file is no mapping."),
    ("008-two-documents", '{"accounts": {}}{"accounts": {}}', "1:17", "This is no JSON."),
    (
        "010-same-id-twice",
        '{"accounts": {"a": {}, "a": {}}}',
        "1:24",
        "The key 'a' stands here again.",
    ),
    ("012-truncated-quote", profile("name", '"open'), "1:43", "This is no JSON."),
    ("013-truncated", '{"accounts": {"a": {', "1:21", "This is no JSON."),
    ("014-conflict-markers", '<<<<<<< HEAD\n{"accounts": {}}\n', "1:1", "This is no JSON."),
    ("023-infinity", profile("name", "Infinity"), "1:43", "This is no JSON."),
    ("024-nan", profile("name", "NaN"), "1:43", "This is no JSON."),
    ("028-null", profile("name", "null"), "1:43", "null is no value."),
    (
        "034-quoted-false",
        '{"accounts": {"bot": {"banned": "false"}}}',
        "1:33",
        "True or false or a mapping is expected here.",
    ),
    (
        "034-one",
        '{"accounts": {"bot": {"banned": 1}}}',
        "1:33",
        "True or false or a mapping is expected here.",
    ),
    (
        "035-duplicate-key",
        '{"accounts": {"bot": {"profile": {"name": "a", "name": "b"}}}}',
        "1:48",
        "The key 'name' stands here again.",
    ),
    (
        "042-depth-1100",
        '{"accounts": ' + "[" * 1100,
        "1:76",
        "More than 64 levels are nested here.",
    ),
    (
        "043-depth-50000",
        '{"accounts": ' + '{"a":' * 50000,
        "1:329",
        "More than 64 levels are nested here.",
    ),
    ("055-byte-order-mark", "\ufeff{}", "1:1", "The file begins with a byte order mark."),
    ("056-utf-16", "{}".encode("utf-16"), "1:1", "The file is UTF-16, or zeros, but not UTF-8."),
    (
        "057-latin-1",
        profile("name", '"Café"').encode("latin-1"),
        "1:47",
        "The byte 0xe9 is no UTF-8 here.",
    ),
    ("058-nul", profile("name", '"a\0b"'), "1:45", "The character U+0000 is not allowed."),
    (
        "059-escaped-nul",
        profile("name", r'"a\u0000b"'),
        "1:43",
        "The text holds the character U+0000.",
    ),
    (
        "062-line-separator",
        profile("name", '"a\u2028b"'),
        "1:45",
        "The character U+2028 is not allowed.",
    ),
    (
        "062-escaped-line-separator",
        profile("name", r'"a\u2028b"'),
        "1:43",
        "The text holds the character U+2028.",
    ),
    (
        "066-bidi-override",
        profile("name", '"a\u202eb"'),
        "1:45",
        "The character U+202E is not allowed.",
    ),
    (
        "066-escaped-bidi-override",
        profile("name", r'"a\u202eb"'),
        "1:43",
        "The text holds the character U+202E.",
    ),
    (
        "070-half-a-character",
        profile("name", r'"\ud800"'),
        "1:43",
        "The text holds the character U+D800.",
    ),
    (
        "071-nfc-and-nfd-key",
        '{"accounts": {"bot": {"labels": {"caf\u00e9": "a", "cafe\u0301": "b"}}}}',
        "1:47",
        "The key 'café' stands here again.",
    ),
    ("075-lone-carriage-return", "{}\r", "1:3", "A carriage return stands alone."),
    (
        "087-escaped-crlf",
        profile("name", r'"a\r\nb"'),
        "1:43",
        "The text holds the character U+000D.",
    ),
    (
        "089-ten-megabytes",
        profile("extension", '"' + "x" * 10_000_000 + '"'),
        "1:48",
        "profile.extension has 10000000 characters; cn-prod takes 1024.",
    ),
]

JSONL = [
    ("008-two-on-a-line", '{"id": "a"} {"id": "b"}\n', "1:13", "This is no JSON."),
    ("007-a-list", "[]\n", "1:1", "The line is no account object with an id."),
    ("009-unknown-key", '{"id": "a", "bannd": true}\n', "1:13", "There is no key 'bannd' here."),
    ("010-same-id-twice", '{"id": "a"}\n{"id": "a"}\n', "2:2", "The id 'a' stands here again."),
    (
        "011-same-id-across-files",
        '{"id": "kept"}\n',
        "1:1",
        "The account cn-prod/kept is written twice.",
    ),
    ("013-truncated", '{"id": "a"\n', "1:11", "This is no JSON."),
    ("015-id-that-is-a-number", '{"id": 007}\n', "1:9", "This is no JSON."),
    ("028-null-id", '{"id": null}\n', "1:1", "The line is no account object with an id."),
    (
        "035-duplicate-key",
        '{"id": "a", "banned": true, "banned": false}\n',
        "1:29",
        "The key 'banned' stands here again.",
    ),
    (
        "035-escaped-duplicate-key",
        r'{"id": "a", "banned": true, "b\u0061nned": false}',
        "1:29",
        "The key 'banned' stands here again.",
    ),
    (
        "043-depth-50000",
        '{"id": "a", "labels": ' + "[" * 50000,
        "1:84",
        "More than 64 levels are nested here.",
    ),
    ("055-byte-order-mark", '\ufeff{"id": "a"}', "1:1", "The file begins with a byte order mark."),
    (
        "058-nul",
        '{"id": "a", "profile": {"name": "x\0y"}}',
        "1:35",
        "The character U+0000 is not allowed.",
    ),
    (
        "059-escaped-nul",
        r'{"id": "a", "profile": {"name": "x\u0000y"}}',
        "1:33",
        "The text holds the character U+0000.",
    ),
    (
        "070-half-a-character",
        r'{"id": "a", "profile": {"name": "\udc00"}}',
        "1:33",
        "The text holds the character U+DC00.",
    ),
    ("072-cyrillic-a", '{"id": "\u0430lice"}', "1:2", "'аlice' is no account id in cn-prod."),
    (
        "077-ids-that-fold-together",
        '{"id": "Alice"}\n{"id": "alice"}\n',
        "2:1",
        "The account cn-prod/alice is written twice.",
    ),
    (
        "089-ten-megabytes",
        '{"id": "a", "profile": {"extension": "' + "x" * 10_000_000 + '"}}',
        "1:38",
        "profile.extension has 10000000 characters; cn-prod takes 1024.",
    ),
]

CSV = [
    ("009-unknown-column", "id,bannd\na,true\n", "2:2", "There is no key 'bannd' here."),
    ("009-no-column-id", "name\na\n", "1:1", "The header has no column id."),
    ("010-same-id-twice", "id\na\na\n", "3:1", "The id 'a' stands here again."),
    ("011-same-id-across-files", "id\nkept\n", "2:1", "The account cn-prod/kept is written twice."),
    (
        "012-truncated-quote",
        'id,profile.name\na,"open\n',
        "2:1",
        "This is no CSV: unexpected end of data.",
    ),
    (
        "013-too-many-cells",
        "id,profile.name\na,b,c\n",
        "2:1",
        "The row has more cells than the header.",
    ),
    (
        "030-impossible-date",
        "id,profile.birthday\na,2001-99-99\n",
        "2:2",
        "'2001-99-99' is no date.",
    ),
    ("034-yes", "id,banned\na,yes\n", "2:2", "True or false or a mapping is expected here."),
    ("035-duplicate-column", "id,id\na,b\n", "1:2", "The column 'id' stands twice."),
    (
        "054-many-columns",
        "id" + ",x" * 1_000_000,
        "1:201",
        "The header has 1,000,001 columns; 200 are the most.",
    ),
    (
        "056-utf-16",
        "id\na\n".encode("utf-16"),
        "1:1",
        "The file is UTF-16, or zeros, but not UTF-8.",
    ),
    (
        "057-latin-1",
        "id,profile.name\na,Café\n".encode("latin-1"),
        "2:6",
        "The byte 0xe9 is no UTF-8 here.",
    ),
    ("058-nul", "id,profile.name\na,x\0y\n", "2:2", "The cell holds a control character."),
    (
        "062-line-separator",
        "id,profile.name\na,x\u2028y\n",
        "2:2",
        "The cell holds a control character.",
    ),
    (
        "066-bidi-override",
        "id,profile.name\na,x\u202ey\n",
        "2:2",
        "The cell holds a control character.",
    ),
    ("075-lone-carriage-return", "id\ra\r", "1:3", "A carriage return stands alone."),
    (
        "078-33-characters",
        "id\n" + "x" * 33 + "\n",
        "2:1",
        "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' is no account id in cn-prod.",
    ),
    (
        "087-line-end-in-a-cell",
        'id,profile.name\na,"x\r\ny\0"\n',
        "2:2",
        "The cell holds a control character.",
    ),
    (
        "089-ten-megabytes",
        "id,profile.extension\na," + "x" * 10_000_000,
        "2:1",
        "A cell of this row is longer than 131,072 characters.",
    ),
    (
        "091-javascript-avatar",
        "id,profile.avatar\na,javascript:alert(1)\n",
        "2:2",
        "'javascript:alert(1)' is no https address.",
    ),
]
