"""Decide: what one account needs, from what is desired of it and what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from reconciler.accounts import (
    Account,
    Address,
    Alike,
    Document,
    Observed,
    flatten,
    is_banned,
    split,
)
from reconciler.capabilities import Capabilities
from reconciler.changes import (
    Action,
    Adopt,
    Block,
    Change,
    Create,
    Forget,
    Kind,
    Reason,
    Unblock,
    Update,
    at_vendor,
    token_change,
)
from reconciler.diagnostics import Diagnostic, error, info, warning
from reconciler.diff import diff, same
from reconciler.state import Record
from reconciler.values import ABSENT, canonical, to_moment
from reconciler.workspace import BanReason

Keyed: TypeAlias = Callable[[Address, Mapping[str, Any]], str]
Again: TypeAlias = Callable[[Sequence[Account]], Iterable[Account]]


@dataclass(frozen=True, slots=True)
class Question:
    """What a plan is asked under.

    `capabilities` and `rates` (calls per second, None for 80 % of the vendor's limit) are by
    provider name. `observed` holds what a refresh just read. `keyed` returns the keyed
    fingerprint of a token that resolves, else an empty text. `targets` limits the plan to these
    addresses or providers; empty means all. `uncompared` are path prefixes that the recorded side
    leaves out (a redacted snapshot). `reasons` are those that bans may have, empty for any. `again`
    returns accounts with their documents that came without. `alike` says that there are no others
    than these, desired or recorded, as an earlier plan of the same files and state has found.
    """

    as_of: datetime
    now: datetime
    capabilities: Mapping[str, Capabilities]
    rates: Mapping[str, float | None] = field(default_factory=dict)
    on_absent: str = "forget"
    observed: Mapping[Address, Observed] | None = None
    keyed: Keyed | None = None
    targets: tuple[str, ...] = ()
    uncompared: tuple[str, ...] = ()
    reasons: Mapping[str, BanReason] = field(default_factory=dict)
    again: Again = tuple
    alike: Alike | None = None


class Decisions:
    """The actions and findings of one plan, gathered account by account.

    `doubtful` names the kinds of action that are in doubt, by account.
    """

    def __init__(self, question: Question, doubtful: Mapping[Address, frozenset[str]]) -> None:
        self.question = question
        self.doubtful = doubtful
        self.actions: list[Action] = []
        self.findings: list[Diagnostic] = []
        self.unchanged = 0
        self.boundary = ""

    def new(self, account: Account) -> None:
        """Plan an account that is not recorded."""
        if b'"ban":' not in account.document and not account.adopt and not self.doubtful:
            self.actions.append(
                Create(
                    account.address,
                    Reason.NOT_RECORDED,
                    account.document,
                    account.file,
                    account.line,
                )
            )
            return
        document = account.written()
        ban = document.pop("ban", None)
        banned = ban is not None and is_banned({"ban": ban}, self.question.as_of)
        if account.adopt:
            self._adopt(account, document)
        else:
            self.actions.append(
                Create(
                    account.address,
                    self._reason(account.address, Reason.NOT_RECORDED),
                    canonical(document),
                    account.file,
                    account.line,
                )
            )
        if banned:
            self._lasts(account, ban, {})
            self._bound(ban)
            changes = _ban_changes(False, True, {}, ban, unknown=account.adopt)
            self._add(Block, account, Reason.BAN_DECLARED, 0, changes)
        self._doubt(account.address)

    def _adopt(self, account: Account, document: Document) -> None:
        fields = flatten(document)
        noted = tuple(
            Change(path, None, value)
            for path, value in sorted(fields.items())
            if not at_vendor(path)
        )
        self._add(Adopt, account, Reason.ADOPTED, 0, noted)
        asked = [
            Change(path, None, value, unknown=True)
            for path, value in sorted(fields.items())
            if at_vendor(path) and path.partition(".")[0] not in account.once
        ]
        if token := document.get("token"):
            asked.append(token_change(None, token, unknown=True))
        if asked:
            self._add(Update, account, Reason.ADOPTED, 0, tuple(asked))

    def absent(self, record: Record) -> None:
        """Plan an account that is recorded and no longer desired."""
        mode = record.document.get("on_absent", self.question.on_absent)
        where, version = record.address, record.version
        reason = self._reason(where, Reason.ABSENT)
        if mode == "error":
            self.findings.append(
                error(
                    "absent",
                    f"{where} is recorded and no longer in the YAML",
                    detail="Its on_absent is error, so leaving is refused.",
                    address=where,
                    hint=f"put it back, or run: reconciler state rm {where}",
                )
            )
        elif mode == "forget" or (record.observed is not None and not record.observed.exists):
            # What the vendor was seen to have lost cannot be banned there.
            self.actions.append(Forget(where, reason, version, ()))
            if record.is_banned and (record.observed is None or record.observed.exists):
                self._left_banned(where)
        elif record.is_banned:
            self.unchanged += 1
        else:
            self.actions.append(Block(where, reason, version, (Change("banned", False, True),)))
        self._doubt(where)

    def _left_banned(self, where: Address) -> None:
        """Say of a banned account that is forgotten that nobody will lift its ban any more."""
        self.findings.append(
            warning(
                "left-banned",
                f"{where} is forgotten and stays banned at the vendor",
                detail="What is not recorded is never unbanned, also not when its `until` has "
                "passed.",
                hint="to lift the ban, put it back with `banned: false` (in a sheet, FALSE in the "
                "column banned) or an `until` that has passed, and apply that before it leaves",
                address=where,
            )
        )

    def recorded(self, account: Account, record: Record) -> None:
        """Plan an account that is both desired and recorded."""
        document = account.written()
        ban = document.get("ban")
        wants, has = is_banned(document, self.question.as_of), record.is_banned
        if record.observed is not None and not record.observed.exists:
            self._vanished(account, document, wants, record)
            self._doubt(account.address)
            return
        if self._ban_unknown(record):
            # The vendor may hold a ban or not: the one that is desired is asked for again.
            has = not wants
        if wants and ban:
            self._lasts(account, ban, record.document.get("ban", {}))
        actions, findings = len(self.actions), len(self.findings)
        ban_changes = _ban_changes(has, wants, record.document.get("ban", {}), ban or {})
        if has:
            ban_changes = tuple(
                change
                for change in ban_changes
                if not change.path.startswith(self.question.uncompared)
            )
        stays, lifted = has and wants, has and not wants
        if lifted:
            self._add(Unblock, account, self._why_unblock(record, ban), record.version, ban_changes)
        self._update(
            account,
            record,
            document,
            stays_banned=stays,
            lifted=lifted,
            noted=ban_changes if stays else (),
        )
        if wants and not has:
            reason = Reason.DRIFT if record.banned else Reason.BAN_DECLARED
            self._add(
                Block, account, self._reason(account.address, reason), record.version, ban_changes
            )
        if wants and ban and (actions, findings) != (len(self.actions), len(self.findings)):
            self._bound(ban)
        if len(self.actions) == actions:
            self.unchanged += 1
        self._doubt(account.address)

    def _vanished(
        self, account: Account, document: dict[str, Any], wants: bool, record: Record
    ) -> None:
        """Plan an account that is recorded but was seen to be missing at the vendor."""
        if account.adopt:
            self.unchanged += 1
            self.findings.append(
                warning(
                    "missing",
                    f"{account.address} does not exist at the vendor any more",
                    detail="It is written with `adopt: true`, so it is never created.",
                    source=account.source,
                    address=account.address,
                    hint=f"remove it from the YAML, or run: reconciler state rm {account.address}",
                )
            )
            return
        ban = document.pop("ban", None)
        self.actions.append(
            Create(
                account.address,
                self._reason(account.address, Reason.DRIFT),
                canonical(document),
                account.file,
                account.line,
                record.version,
            )
        )
        if wants and ban is not None:
            self._lasts(account, ban, record.document.get("ban", {}))
            self._bound(ban)
            changes = _ban_changes(False, True, {}, ban)
            self._add(Block, account, Reason.BAN_DECLARED, record.version, changes)

    def _why_unblock(self, record: Record, ban: Mapping[str, Any] | None) -> Reason:
        if ban is not None:
            reason = Reason.BAN_EXPIRED
        else:
            reason = Reason.BAN_LIFTED if record.banned else Reason.DRIFT
        return self._reason(record.address, reason)

    def _update(
        self,
        account: Account,
        record: Record,
        document: Document,
        *,
        stays_banned: bool,
        lifted: bool,
        noted: tuple[Change, ...],
    ) -> None:
        """Plan the field changes of a recorded account; what the vendor cannot take now waits."""
        found = list(self._fields(account, record, document))
        found += self._token(account, record, document)
        now = self._takes(account, record, found, stays_banned=stays_banned, lifted=lifted)
        if now or noted:
            reasons = {reason for _, reason in now} or {Reason.CONFIG_CHANGED}
            reason = next(reason for reason in _WEIGHT if reason in reasons)
            self._add(
                Update,
                account,
                self._reason(account.address, reason),
                record.version,
                (*noted, *(change for change, _ in now)),
            )

    def _takes(
        self,
        account: Account,
        record: Record,
        found: Sequence[tuple[Change, Reason]],
        *,
        stays_banned: bool,
        lifted: bool,
    ) -> list[tuple[Change, Reason]]:
        """Return those changes that the vendor takes now; say of the others what they wait for."""
        capabilities = self.question.capabilities[split(account.address)[0]]
        later = [
            change
            for change, _ in found
            if stays_banned
            and at_vendor(change.path)
            and capabilities.waits_while_banned(change.path)
        ]
        if later:
            self._wait(
                account.address,
                later,
                "the vendor takes no change of a banned account; it follows with the unblock",
            )
        now = [(change, reason) for change, reason in found if change not in later]
        shy = [
            change
            for change, _ in now
            if change.path in record.waiting and change.path in capabilities.after_login
        ]
        if (
            shy
            and not lifted
            and not any(at_vendor(change.path) and change not in shy for change, _ in now)
        ):
            self._wait(
                account.address,
                shy,
                "the vendor takes it only after the account's first "
                "login; it follows with the next change",
            )
            now = [(change, reason) for change, reason in now if change not in shy]
        return now

    def _fields(
        self, account: Account, record: Record, document: Document
    ) -> Iterator[tuple[Change, Reason]]:
        applied, wanted = flatten(record.document), flatten(document)
        capabilities = self.question.capabilities[split(account.address)[0]]
        current = {
            path: record.current(path) if at_vendor(path) else value
            for path, value in applied.items()
        }
        for path in wanted:
            if at_vendor(path) and path not in current:
                seen = record.current(path)
                if seen is not None:
                    current[path] = seen
        for path, old, new in diff(current, wanted):
            if path.startswith(self.question.uncompared) or _left(path, account, record):
                continue
            if new is not ABSENT:
                steady = path in applied and same(path, applied[path], new)
                yield (
                    Change(path, None if old is ABSENT else old, new),
                    Reason.DRIFT if steady else Reason.CONFIG_CHANGED,
                )
            elif at_vendor(path):
                yield (
                    Change(path, old, capabilities.field(path).default, removed=True),
                    Reason.FIELD_REMOVED,
                )
            else:
                yield Change(path, old, None, removed=True), Reason.FIELD_REMOVED

    def _token(
        self, account: Account, record: Record, document: Document
    ) -> list[tuple[Change, Reason]]:
        wanted, applied = document.get("token"), record.document.get("token")
        if wanted is None:
            return []
        if applied and applied["version"] == wanted["version"]:
            keyed = self.question.keyed
            key = keyed(account.address, wanted) if keyed and record.token_key else ""
            if not key or key == record.token_key:
                return []
        return [(token_change(applied, wanted), Reason.TOKEN_VERSION)]

    def _add(
        self,
        kind: type[Adopt | Update | Block | Unblock],
        account: Account,
        reason: Reason,
        version: int,
        changes: tuple[Change, ...],
    ) -> None:
        self.actions.append(
            kind(account.address, reason, version, changes, account.file, account.line)
        )

    def _reason(self, where: Address, reason: Reason) -> Reason:
        return Reason.IN_DOUBT if where in self.doubtful else reason

    def _ban_unknown(self, record: Record) -> bool:
        """Tell whether a ban or its end is in doubt and was not just read."""
        seen = self.question.observed and self.question.observed.get(record.address)
        if seen and seen.banned is not None:
            return False
        return not self.doubtful.get(record.address, frozenset()).isdisjoint(_BANS)

    def _doubt(self, where: Address) -> None:
        if where in self.doubtful:
            self.findings.append(
                warning(
                    "in-doubt",
                    f"{where} has an action whose outcome is not known",
                    address=where,
                    detail="A run was stopped, or a reply lost, after the request may have left.",
                    hint="the next apply settles it first",
                )
            )

    def _wait(self, where: Address, changes: Iterable[Change], why: str) -> None:
        paths = ", ".join(change.path for change in changes)
        self.findings.append(info("waiting", f"{where}: {paths} waits", detail=why, address=where))

    def _lasts(self, account: Account, ban: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        """Say of a ban that is new, or has another reason or end, that it lasts too long.

        A ban that is recorded was judged when it began, by the rules of then.
        """
        reason = self.question.reasons.get(ban.get("reason", ""))
        told = [{key: one.get(key) for key in ("reason", "until")} for one in (known, ban)]
        if reason is None or not any(diff(*told)):
            return
        if wrong := reason.overlong(ban.get("until"), self.question.as_of):
            self.findings.append(
                error(
                    "ban-too-long",
                    f"{account.address}: {wrong[0]}",
                    hint=wrong[1],
                    source=account.source,
                    address=account.address,
                )
            )

    def _bound(self, ban: Mapping[str, Any]) -> None:
        """Note the moment at which a ban that this plan relies on ends."""
        until = ban.get("until")
        if until and (not self.boundary or to_moment(until) < to_moment(self.boundary)):
            self.boundary = until


def _left(path: str, account: Account, record: Record) -> bool:
    """Tell whether a field is the user's since its section was set, or the account adopted.

    One that a create did not come to set is still to come.
    """
    return path.partition(".")[0] in account.once and path not in record.waiting


_BANS = frozenset({str(Kind.BLOCK), str(Kind.UNBLOCK)})

_WEIGHT = (
    Reason.IN_DOUBT,
    Reason.CONFIG_CHANGED,
    Reason.FIELD_REMOVED,
    Reason.DRIFT,
    Reason.TOKEN_VERSION,
)


def _ban_changes(
    has: bool, wants: bool, old: Mapping[str, Any], new: Mapping[str, Any], *, unknown: bool = False
) -> tuple[Change, ...]:
    """Return the changes of a ban: the flag if it turns, then the record's fields that differ.

    The record of a ban that neither stands nor shall stand is nobody's concern. A new ban carries
    its whole record, also what a former one said alike: the vendor is told all of it.
    """
    if not has and not wants:
        return ()
    if not has:
        old = {path: value for path, value in old.items() if path not in new}
    fields = tuple(
        Change(
            f"banned.{path}",
            None if before is ABSENT else before,
            None if after is ABSENT else after,
        )
        for path, before, after in diff(old, new)
    )
    if has == wants:
        return fields
    return (Change("banned", None if unknown else has, wants, unknown=unknown), *fields)
