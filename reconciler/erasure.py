"""Erasure: what stays of a person's data in records and history once it is erased."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from reconciler.accounts import Observed
from reconciler.diff import meaning
from reconciler.state import Record
from reconciler.values import erased

BAN: Final = ("evidence", "notify", "reason")
"""What a ban's record may tell of a person; its ticket says where the rest is kept."""


class Erasure:
    """Erases with one salt, so that the same value is erased to the same text everywhere.

    `salt` is 16 random bytes, new for each account. What no value was written for stays so.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    def record(self, record: Record) -> Record:
        """Return the record without profile and ban texts, as applied and as observed."""
        document = dict(record.document)
        if "profile" in document:
            document["profile"] = self._profile(document["profile"])
        if "ban" in document:
            document["ban"] = {
                key: self._one(f"banned.{key}", value) if key in BAN else value
                for key, value in document["ban"].items()
            }
        seen = record.observed
        return replace(record, document=document, observed=seen and self._observed(seen))

    def action(self, action: Mapping[str, Any]) -> dict[str, Any]:
        """Return the action of a line of history with its changes erased, before and after."""
        if "changes" not in action:
            return dict(action)
        changes = [
            {
                **change,
                "before": self._one(change["path"], change["before"]),
                "after": self._one(change["path"], change["after"]),
            }
            if personal(change["path"]) and "before" in change and "after" in change
            else dict(change)
            for change in action["changes"]
        ]
        return {**action, "changes": changes}

    def _observed(self, seen: Observed) -> Observed:
        return replace(seen, profile=self._profile(seen.profile))

    def _profile(self, profile: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: {key: self._one(f"profile.{name}.{key}", inner) for key, inner in value.items()}
            if isinstance(value, Mapping)
            else self._one(f"profile.{name}", value)
            for name, value in profile.items()
        }

    def _one(self, path: str, value: Any) -> Any:
        return None if value is None else erased(meaning(path, value), self._salt)


def personal(path: str) -> bool:
    """Tell whether a changed path may hold a person's data."""
    section, _, name = path.partition(".")
    return section == "profile" or (section == "banned" and name in BAN)
