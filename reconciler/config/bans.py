"""Bans: what is written beneath `banned` becomes the record of a ban, which needs its reason."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from reconciler.config import scalars
from reconciler.config.close import close
from reconciler.config.fields import fields, read
from reconciler.config.report import Raw, Report
from reconciler.config.table import Table
from reconciler.workspace import BanReason


def ban(raw: Any, rules: Table, report: Report) -> Raw | None:
    """Return the ban record, None for not banned."""
    if not isinstance(raw, dict):
        return {} if read(scalars.flag, raw, ("banned",), report) else None
    plain = {key: value for key, value in raw.items() if key != "evidence"}
    made = fields(plain, rules.ban, ("banned",), report)
    if made.get("kick") is True:
        del made["kick"]
    if "evidence" in raw:
        written = raw["evidence"]
        if not isinstance(written, list):
            report(
                ("banned", "evidence"),
                "wrong-type",
                "A list of texts is expected here.",
                'write ["https://…"]',
            )
        else:
            made["evidence"] = [
                read(scalars.word, item, ("banned", "evidence", n), report)
                for n, item in enumerate(written)
            ]
    return made


def reasoned(
    raw: Any,
    ban: Raw,
    reasons: Mapping[str, BanReason],
    moment: datetime | None,
    report: Report,
) -> None:
    """Report a ban that none of the workspace's reasons allows; what cannot be read is not.

    Without a `moment` a ban is only too long if it has no end.
    """
    unread = raw.keys() - ban.keys() if isinstance(raw, dict) else frozenset()
    if "reason" in unread:
        return
    name, until = ban.get("reason"), ban.get("until")
    if name is None:
        report(
            ("banned", "reason"),
            "no-reason",
            "The ban has no reason.",
            f"write reason: with one of {', '.join(reasons)}",
        )
        return
    if (reason := reasons.get(name)) is None:
        summary = f"{name[:80]!r} is none of the ban_reasons."
        report(("banned", "reason"), "unknown-reason", summary, close(name, reasons))
        return
    if "until" in unread:
        return
    if wrong := reason.overlong(until, moment):
        report(("banned", "until"), "ban-too-long", *wrong)
    elif reason.longest is None and until is None and not ban.get("evidence"):
        report(
            ("banned", "evidence"),
            "no-evidence",
            "A ban without an end needs evidence.",
            'write evidence: ["https://…"], or until: with its end',
        )
