"""History: who did what to an account, why, how it ended, and what set each of its fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from reconciler.accounts import flatten
from reconciler.changes import Kind
from reconciler.state import Entry, Record, Run, Status
from reconciler.views.words import LONG, value, visible

OUTCOMES: Final[Mapping[Status, str]] = {
    Status.INTENT: "under way",
    Status.CONFIRMED: "done",
    Status.REJECTED: "refused by the vendor",
    Status.NOT_SENT: "not done",
    Status.AMBIGUOUS: "in doubt",
}

_WHOLE: Final = frozenset({"adopt", "import", "state mv", "state push", "state restore"})
"""What saves a whole record without telling its fields."""


class Origin(NamedTuple):
    """What set a field last; the greatest is the newest."""

    at: str
    run: str
    operator: str
    action: str

    def __str__(self) -> str:
        """Return it for the end of a line."""
        return (
            f"(set {visible(self.at)} by {visible(self.operator)}, {visible(self.action)} in run "
            f"{visible(self.run)})"
        )


def origins(record: Record, entries: Iterable[Entry]) -> dict[str, Origin]:
    """Return what set each field of a record last, by path; `entries` are its history.

    Paths are those of changes: `profile.name`, `banned`, `banned.reason`, `token`. A field that
    came with a whole record (an adoption, an import, a pushed snapshot) is that one's; a field of
    which history does not tell has no key.
    """
    found: dict[str, Origin] = {}
    whole: Origin | None = None
    for entry in entries:
        kind = entry.action.get("action", entry.run.operation)
        if entry.status is not Status.CONFIRMED:
            continue
        origin = Origin(entry.at, entry.run.id, entry.run.operator, kind)
        if kind in (Kind.CREATE, Kind.FORGET) or kind in _WHOLE or entry.action.get("forgotten"):
            found, whole = {}, origin if kind in _WHOLE else None
        if kind == Kind.CREATE:
            found["banned"] = origin
        found |= {change["path"]: origin for change in entry.action.get("changes", ())}
    held = {*flatten(record.document), "banned"}
    held |= {f"banned.{key}" for key in record.document.get("ban", ())}
    held |= {"token"} & record.document.keys()
    return {path: one for path in sorted(held) if (one := found.get(path, whole)) is not None}


def ban_facts(action: Mapping[str, Any]) -> dict[str, Any]:
    """Return why an account is banned, or was: the `reason` and `ticket` that an action carries."""
    return {
        change["path"].removeprefix("banned."): (
            change["before"] if change["after"] is None else change["after"]
        )
        for change in action.get("changes", ())
        if change["path"] in ("banned.reason", "banned.ticket")
    }


def reasons(action: Mapping[str, Any]) -> str:
    """Return why something was done, for a person: the ban's own words, else the plan's reason."""
    ban = ban_facts(action)
    told = [value(ban["reason"])] if ban.get("reason") else []
    if ban.get("ticket"):
        told.append(f"ticket {visible(str(ban['ticket']))}")
    return ", ".join(told) or visible(str(action.get("reason", ""))).replace("_", " ")


def deed(entry: Entry) -> str:
    """Return what was done to which account, with the fields that an update is about."""
    kind = str(entry.action.get("action", entry.run.operation))
    told = f"{visible(kind)} {visible(entry.address)}".rstrip()
    if kind == Kind.UPDATE:
        paths = ", ".join(change["path"] for change in entry.action.get("changes", ()))
        return f"{told} {visible(paths, LONG)}"
    return told


def run_lines(run: Run) -> Iterator[str]:
    """Yield the facts of a run: what, who, when, which plan, and where its log and commit are."""
    plan = f", plan {visible(run.fingerprint)}" if run.fingerprint else ""
    yield (
        f"run {visible(run.id)}: {visible(run.operation)} by {visible(run.operator)}, started "
        f"{visible(run.started_at)}{plan}"
    )
    facts = {key: visible(text, LONG) for key, text in run.context.items()}
    service = " ".join(facts.pop(key) for key in ("ci", "repository", "ref") if key in facts)
    told = [service] if service else []
    told += [f"{key} {facts.pop(key)}" for key in ("commit", "change") if key in facts]
    told += [facts.pop("url")] if "url" in facts else []
    facts.pop("actor", "")
    told += [f"{visible(key)} {text}" for key, text in sorted(facts.items())]
    if told:
        yield f"    {', '.join(told)}"
    for one in run.overrides:
        yield (
            f"    rule {visible(one.rule)} overridden by {visible(one.by)}: "
            f"{visible(one.reason, LONG)}"
        )
