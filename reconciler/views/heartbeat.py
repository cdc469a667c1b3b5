"""Heartbeat: what a drift run says to dashboards and chats, as JSON, metrics and messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from reconciler.drift import MISSING, Drift
from reconciler.values import to_text
from reconciler.views.phrases import muted
from reconciler.views.words import number, visible

SHOWN: Final = 20
"""Accounts that a message names; beyond it they are counted."""

_Samples: TypeAlias = list[tuple[Mapping[str, str], float]]
_HOSTS: Final[Mapping[str, str]] = {
    "hooks.slack.com": "slack",
    "open.feishu.cn": "feishu",
    "open.larksuite.com": "feishu",
    "oapi.dingtalk.com": "dingtalk",
    "qyapi.weixin.qq.com": "wecom",
}


class Heartbeat(NamedTuple):
    """One drift run: of which workspace, when (RFC 3339 UTC, and seconds since 1970), how long."""

    workspace: str
    time: str
    stamp: float
    seconds: float


def json(found: Drift, beat: Heartbeat) -> dict[str, Any]:
    """Return what `drift --json` says beside the differences themselves."""
    return {
        "workspace": beat.workspace,
        "time": beat.time,
        "duration_seconds": round(beat.seconds, 3),
        "muted": {
            "count": len(found.muted),
            "by": [
                {"owner": owner, "until": until, "count": count}
                for owner, until, count in found.accepted()
            ],
            "differences": [
                {
                    "address": one.address,
                    "path": one.path,
                    "owner": one.owner,
                    "reason": one.reason,
                    "expires": to_text(one.expires),
                }
                for one in found.muted
            ],
        },
    }


# Metrics


def metrics(found: Drift, beat: Heartbeat, success: float) -> str:
    """Return the run in Prometheus' text format; `success` is when a run last read everything."""
    counts = found.summary()
    known = found.checked + found.recorded_only
    own = {"workspace": beat.workspace}
    told: list[tuple[str, str, _Samples]] = [
        ("accounts", "Recorded accounts that this run was about.", [(own, _accounts(found))]),
        ("changed_accounts", "Accounts that changed at the vendor.", [(own, counts["changed"])]),
        ("missing_accounts", "Accounts that the vendor lost.", [(own, counts["missing"])]),
        ("unread_accounts", "Accounts that could not be read.", [(own, len(found.unread))]),
        (
            "muted_differences",
            "Differences that the baseline accepts, by owner.",
            [({**own, "owner": owner}, count) for owner, _, count in found.accepted()],
        ),
        ("checked_fields", "Fields that were checked.", [(own, found.checked)]),
        (
            "recorded_only_fields",
            "Fields that the vendor cannot tell.",
            [(own, found.recorded_only)],
        ),
        (
            "coverage_ratio",
            "Share of the managed fields that were checked.",
            [(own, found.checked / known if known else 1)],
        ),
        ("duration_seconds", "How long the run took.", [(own, round(beat.seconds, 3))]),
        ("last_run_timestamp_seconds", "When a run last ended.", [(own, round(beat.stamp))]),
        (
            "last_success_timestamp_seconds",
            "When a run last read every account.",
            [(own, round(success))],
        ),
    ]
    return "".join(
        line
        for name, meant, samples in told
        for line in _metric(f"reconciler_drift_{name}", meant, samples)
    )


def last_success(text: str) -> float:
    """Return what an earlier file of `metrics` holds as the last success; 0 if it holds none."""
    found = re.search(r"^reconciler_drift_last_success_timestamp_seconds\S* (\d+)$", text, re.M)
    return float(found[1]) if found else 0.0


def _accounts(found: Drift) -> int:
    quiet = {one.address for one in found.muted} - {one.address for one in found.drifted}
    return len(found.drifted) + found.unchanged + len(found.unread) + len(quiet)


def _metric(name: str, meant: str, samples: _Samples) -> Iterator[str]:
    yield f"# HELP {name} {meant}\n# TYPE {name} gauge\n"
    for labels, value in samples:
        inner = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items())
        yield f"{name}{{{inner}}} {value}\n"


def _label(text: str) -> str:
    """Escape a label's value as the format has it: backslash, quote and line feed."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


# Messages


def well(found: Drift) -> bool:
    """Tell whether there is nothing that anybody must look at."""
    return not found.drifted and not found.unread


def message(found: Drift, beat: Heartbeat) -> str:
    """Return the run as a text for a chat: which accounts and fields, never a value."""
    counts = found.summary()
    if well(found):
        lines = [f"reconciler: no drift in {beat.workspace}."]
    else:
        lines = [
            f"reconciler: drift in {beat.workspace}: {counts['changed']} changed, "
            f"{counts['missing']} missing, {counts['unchanged']} unchanged"
            f"{f', {len(found.unread)} unread' if found.unread else ''}."
        ]
    for one in found.drifted[:SHOWN]:
        paths = ", ".join(visible(change.path) for change in one.changes)
        lines.append(f"{one.kind} {visible(one.address)}{': ' if paths else ''}{paths}")
    if len(found.drifted) > SHOWN:
        lines.append(f"and {number(len(found.drifted) - SHOWN, 'more account')}")
    lines += muted(found)
    lines.append(f"{number(found.checked, 'field')} checked, {found.recorded_only} only recorded.")
    return "\n".join(lines)


def failure(told: str, beat: Heartbeat) -> str:
    """Return the text for a run that could not compare."""
    return f"reconciler: drift of {beat.workspace} is not known: {visible(told, 500)}"


def body(
    text: str, beat: Heartbeat, format: str, url: str, found: Drift | None = None
) -> dict[str, Any]:
    """Return what is posted to a webhook: in the format asked for, or the one of its host."""
    match format or _format(url):
        case "slack":
            return {"text": _slack(text)}
        case "feishu":
            return {"msg_type": "text", "content": {"text": _tagless(text)}}
        case "dingtalk" | "wecom":
            return {"msgtype": "text", "text": {"content": _tagless(text)}}
        case _:
            return _plain(text, beat, found)


def _format(url: str) -> str:
    try:
        return _HOSTS.get(urlsplit(url).hostname or "", "json")
    except ValueError:
        return "json"


def _slack(text: str) -> str:
    """Escape what Slack would read as a mention, a link or a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _tagless(text: str) -> str:
    """Write the brackets of `<at>` tags, which these services do not escape, as wide ones."""
    return text.replace("<", "＜").replace(">", "＞")


def _plain(text: str, beat: Heartbeat, found: Drift | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": "drift",
        "workspace": beat.workspace,
        "time": beat.time,
        "duration_seconds": round(beat.seconds, 3),
        "text": text,
    }
    if found is None:
        return {**told, "ok": False, "error": text}
    return {
        **told,
        "ok": well(found),
        "summary": found.summary(),
        "coverage": {"checked": found.checked, "recorded_only": found.recorded_only},
        "unread": len(found.unread),
        "muted": json(found, beat)["muted"]["by"],
        "drift": [
            {
                "address": one.address,
                "kind": one.kind,
                "paths": [change.path for change in one.changes] or [MISSING],
            }
            for one in found.drifted
        ],
    }
