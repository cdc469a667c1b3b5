"""Texts: how a text is written in YAML so that every reader reads just that text."""

from __future__ import annotations

import re
from typing import Final

from reconciler.config.lines import BLOCK, FLOW

_RETYPED: Final = re.compile(
    r"y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF"
    r"|true|True|TRUE|false|False|FALSE|null|Null|NULL|~|"
    r"|[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+]?0x[0-9a-fA-F_]+|[-+][0-9_,]+|[0-9][0-9_,]*"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[-+]?(?:\.[0-9_]+|[0-9][0-9_]*\.[0-9_]*|[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?|<<|=",
    re.DOTALL,
)
"""Plain scalars that YAML 1.1 or 1.2 takes for a flag, a number, a time, null or a merge."""

_HIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]|(?<!\\S):(?=:)|#(?=#\\w*\\[)"
)
"""What nobody sees, and what a CI runner would take for a command: these are escaped."""

LONGEST_KEY: Final = 128
"""Characters of a key without quotes; some readers want them to be found soon."""

_PLAIN: Final = re.compile(BLOCK)
_PLAIN_IN_FLOW: Final = re.compile(FLOW)
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}")
_ESCAPES: Final = {"\n": "\\n", "\t": "\\t"}


def written(text: str, *, flow: bool = False) -> str:
    """Return a text as it is written behind a key: plain where every reader reads just that.

    `flow`: within brackets, where a plain one may hold less.
    """
    plain = _PLAIN_IN_FLOW if flow else _PLAIN
    if (
        plain.fullmatch(text)
        and not _RETYPED.fullmatch(text)
        and text == text.strip()
        and not _HIDDEN.search(text)
    ):
        return text
    return quoted(text)


def key(text: str, *, flow: bool = False) -> str:
    """Return a text as it is written before a colon."""
    if _PLAIN_KEY.fullmatch(text) and not _RETYPED.fullmatch(text):
        return text
    return written(text, flow=flow) if len(text) <= LONGEST_KEY else quoted(text)


def fits_brackets(text: str) -> bool:
    """Tell whether a plain scalar ends where it should within brackets."""
    return _PLAIN_IN_FLOW.fullmatch(text) is not None


def quoted(text: str) -> str:
    """Return a text in quotes, by preference without escapes."""
    if _HIDDEN.search(text) is None:
        if '"' not in text and "\\" not in text:
            return f'"{text}"'
        if "'" not in text:
            return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_HIDDEN.sub(_escape, escaped)}"'


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
