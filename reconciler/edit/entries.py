"""Entries: accounts as their vendors hold them, as entries of an account file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from reconciler.accounts import Account, Observed, flatten, is_banned, owned, split, unflatten
from reconciler.capabilities import Capabilities
from reconciler.changes import at_vendor
from reconciler.config.judge import Bench
from reconciler.config.scalars import Quoted
from reconciler.diagnostics import Diagnostic, error
from reconciler.diff import same
from reconciler.edit.fit import EXTENSION, collect, raw, unsayable
from reconciler.state import Record
from reconciler.values import is_erased

BANNED: Final = "banned"

_LOCAL: Final = ("labels", "manage", "token")


class Entry(NamedTuple):
    """What the YAML says of an account that a vendor holds.

    `raw` are the values as the reader would give them, `account` what they come to, None if that
    is none; `unsaid` names the fields that the file cannot say as they are, and why.
    """

    key: str
    raw: dict[str, Any]
    account: Account | None
    unsaid: dict[str, Diagnostic]


def declare(record: Record, seen: Observed, capabilities: Capabilities, bench: Bench) -> Entry:
    """Return the entry of an account: what is recorded of it and what the vendor holds.

    Defaults, empty fields and what cannot be read are left out, unless they are recorded as
    written. `bench` judges the file that it is for; a provider that it does not imply is said.
    """
    name, key = split(record.address)
    flat = {
        path: value
        for path, value in flatten(record.document).items()
        if at_vendor(path) and not is_erased(value)
    }
    for path, value in _sections(seen).items():
        if path in flat or (value is not None and value != _default(capabilities, path)):
            flat[path] = value
    unsaid = {path: why for path, value in flat.items() if (why := unsayable(path, value))}
    values = {
        path: raw(path, value, mapping=path == EXTENSION and _is_canonical(value))
        for path, value in flat.items()
        if path not in unsaid
    }
    around = _around(record, seen)
    if bench.provider != name:
        around = {"provider": Quoted(name), **around}
    while True:
        shape = {**around, **unflatten(values)}
        account, wrong = _judged(key, shape, bench)
        if account and not wrong:
            document = flatten(account.written())
            wrong = {
                path: error("retyped", "The file would say something else.")
                for path in values
                if not same(path, document.get(path), flat[path])
            }
        unsaid |= wrong
        if not wrong or not values.keys() & wrong.keys():
            return Entry(key, shape, None if wrong else account, unsaid)
        values = {path: value for path, value in values.items() if path not in wrong}


def accepted(entry: Account, record: Record, seen: Observed) -> Record:
    """Return the record of an account whose entry says just what the vendor holds."""
    document = entry.written()
    return replace(record, document=document, banned="ban" in document, observed=seen)


def claimed(account: Account, record: Record, seen: Observed) -> Record:
    """Return the record of an account that the YAML declares: what of it the vendor holds.

    What it holds otherwise is recorded as it is there, so that the next plan changes it; what
    cannot be read is not recorded, so that the next plan sets it.
    """
    document = account.written()
    live = _sections(seen)
    held: dict[str, Any] = {}
    for path, value in flatten(document).items():
        if not at_vendor(path):
            held[path] = value
        elif path in live:
            held[path] = value if same(path, value, live[path]) else live[path]
    made = unflatten(held)
    if seen.banned and "ban" in document:
        made["ban"] = document["ban"]
    return replace(record, document=made, banned=bool(seen.banned), observed=seen)


def completed(account: Account, record: Record) -> Record:
    """Return a record with what its account declares, was seen to be held, and is not recorded.

    It is so where an account was recorded first and declared then.
    """
    seen = record.observed
    if seen is None or not seen.exists:
        return record
    document = account.written()
    live = _sections(seen)
    flat = flatten(record.document)
    more = {
        path: value
        for path, value in flatten(document).items()
        if path not in flat and path in live and same(path, value, live[path])
    }
    ban = "ban" in document and "ban" not in record.document and record.banned and seen.banned
    if not more and not ban:
        return record
    rest = {name: record.document[name] for name in ("ban", "token") if name in record.document}
    made = {**unflatten(flat | more), **rest, **({"ban": {}} if ban else {})}
    return replace(record, document=made)


def unlike(account: Account, seen: Observed, now: datetime) -> tuple[str, ...]:
    """Return the fields in which a vendor does not hold what the YAML says."""
    document = account.written()
    live = _sections(seen)
    differ = [
        path
        for path, value in sorted(flatten(document).items())
        if path in live and owned(document, path) and not same(path, value, live[path])
    ]
    if seen.banned is not None and seen.banned != is_banned(document, now):
        differ.insert(0, BANNED)
    return tuple(differ)


def unread(account: Account, seen: Observed) -> tuple[str, ...]:
    """Return the fields that the YAML says and the vendor does not give back."""
    document = account.written()
    live = _sections(seen)
    found = [path for path in sorted(flatten(document)) if at_vendor(path) and path not in live]
    if seen.banned is None and "ban" in document:
        found.append(BANNED)
    return (*found, *(("token",) if "token" in document else ()))


def _sections(seen: Observed) -> dict[str, Any]:
    return flatten({"profile": seen.profile, "configuration": seen.configuration})


def _default(capabilities: Capabilities, path: str) -> Any:
    """Return what a field holds that nobody set; a text is empty then."""
    default = capabilities.field(path).default
    return "" if default is None else default


def _is_canonical(value: Any) -> bool:
    """Tell whether an extension is the very text that its mapping comes to."""
    if not isinstance(value, str) or not value.startswith("{"):
        return False
    try:
        tree = json.loads(value)
    except (ValueError, RecursionError):
        return False
    told = json.dumps(tree, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return told == value


def _around(record: Record, seen: Observed) -> dict[str, Any]:
    """Return what an entry says beside profile and flags."""
    document = record.document
    found = {name: _plain(document[name]) for name in _LOCAL if name in document}
    if "protected" in document:
        found["protected"] = "true" if document["protected"] else "false"
    if "on_absent" in document:
        found["on_absent"] = Quoted(document["on_absent"])
    if record.is_banned if seen.banned is None else seen.banned:
        ban = {name: one for name, one in document.get("ban", {}).items() if not _is_erased(one)}
        found[BANNED] = _plain(ban) or "true"
    return found


def _is_erased(value: Any) -> bool:
    return any(map(is_erased, value if isinstance(value, list) else [value]))


def _plain(value: Any) -> Any:
    """Return recorded values as the reader would give them."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return raw("", value)


def _judged(
    key: str, shape: dict[str, Any], bench: Bench
) -> tuple[Account | None, dict[str, Diagnostic]]:
    """Return what the values come to, and which of them the file cannot hold."""
    wrong: dict[str, Diagnostic] = {}
    made = bench.accounts(key, shape, 0, collect(wrong))
    return (made[0] if made else None), wrong
