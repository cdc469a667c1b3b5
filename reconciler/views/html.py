"""HTML: a plan or a drift report as one page that needs nothing from outside."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from itertools import groupby
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reconciler.accounts import Address, split
from reconciler.changes import Action, Block, Plan, ban_of
from reconciler.diagnostics import Severity
from reconciler.drift import Drift
from reconciler.guard import Judgement
from reconciler.views import text
from reconciler.views.fields import nested
from reconciler.views.phrases import (
    ENGLISH,
    PHRASES,
    Speech,
    drift_sentences,
    muted,
    perhaps,
    sentences,
)
from reconciler.views.words import (
    DESTRUCTIVE,
    LONG,
    READING,
    SIGNS,
    WIDTH,
    for_page,
    plan_line,
    value,
    visible,
)

SMALL: Final = 2000
"""Actions up to which values are shown at length; beyond it the page would grow too heavy."""

FINDINGS: Final = 500
"""Findings that are listed, and accounts that have drifted; of the others the number is told."""

BAR: Final = 1000
"""Units that a chart's longest bar is wide."""

Labels = Mapping[Address, Mapping[str, str]]

_SPOKEN: Final = ("shown", "more", "no_match", "field", "before", "after", "all")
"""Phrases that the page's script says."""


@cache
def _pages() -> Environment:
    return Environment(
        loader=PackageLoader("reconciler.views", "pages"),
        autoescape=True,
        finalize=for_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )


def plan(
    planned: Plan, judged: Judgement, say: Speech = ENGLISH, labels: Labels | None = None
) -> Iterator[str]:
    """Yield the lines of a plan's page; `labels` are those recorded of the accounts it touches."""
    findings = sorted(
        (*judged.findings, *planned.diagnostics), key=lambda one: list(Severity).index(one.severity)
    )
    width = LONG if len(planned.actions) <= SMALL else WIDTH
    yield from _page(
        "plan.html",
        ("plan.js",),
        say,
        plan=planned,
        sentences=list(sentences(planned, say, visible)),
        findings=[_finding(one) for one in findings[:FINDINGS]],
        more_findings=max(0, len(findings) - FINDINGS),
        refused=sum(one.severity is Severity.ERROR for one in findings),
        notes=list(text.notes(planned, judged.approvals, say)),
        apps=_charts(planned),
        reasons=_reasons(planned, say),
        kinds=READING,
        signs=SIGNS,
        harmful=_harmful(planned),
        last=plan_line(planned.summary()),
        width=width,
        data=_data(_accounts(planned, say, width, labels or {})),
    )


def drift(found: Drift, workspace: str, say: Speech = ENGLISH) -> Iterator[str]:
    """Yield the lines of a drift report's page."""
    drifted = sorted(found.drifted, key=lambda one: one.kind == "changed")
    accounts: list[tuple[str, str, list[tuple[str, str, str]]]] = [
        (
            one.kind,
            one.address + perhaps(one.cause, say),
            [
                (
                    change.path,
                    value(change.recorded, LONG),
                    value(change.observed, LONG) + perhaps(change.cause, say),
                )
                for change in one.changes
            ],
        )
        for one in drifted
    ]
    accounts += [("unread", address, []) for address in found.unread]
    coverage, last = drift_sentences(found, say)
    yield from _page(
        "drift.html",
        (),
        say,
        workspace=workspace,
        accounts=accounts[: 10 * FINDINGS],
        more=max(0, len(accounts) - 10 * FINDINGS),
        muted=list(muted(found, say)),
        coverage=coverage,
        last=last,
    )


def _page(name: str, scripts: Sequence[str], say: Speech, **values: Any) -> Iterator[str]:
    """Yield a page whose policy allows its own style and script, by digest, and nothing else."""
    style = _source("page.css")
    script = Markup("").join(map(_source, scripts))
    made = (
        _pages()
        .get_template(name)
        .render(
            say=say,
            language=say.language,
            style=style,
            script=script,
            policy=(
                f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
                "base-uri 'none'; form-action 'none'"
            ),
            **values,
        )
    )
    yield from made.split("\n")


def _source(name: str) -> Markup:
    """Return a file of ours as it stands; it holds no end tag."""
    loader = PackageLoader("reconciler.views", "pages")
    return Markup(loader.get_source(_pages(), name)[0])  # noqa: S704 (our own files)


def _hash(source: str) -> str:
    return f"sha256-{b64encode(sha256(source.encode()).digest()).decode()}"


def _finding(one: Any) -> tuple[str, list[str]]:
    return str(one.severity), text.finding(one).split("\n")


def _charts(planned: Plan) -> list[tuple[str, int, dict[str, int], list[tuple[str, int, int]]]]:
    """Return of each app its actions by kind, and the bar they make: kind, start and width."""
    counts: dict[str, Counter[str]] = {}
    for action in planned.actions:
        counts.setdefault(split(action.address)[0], Counter())[action.kind] += 1
    longest = max((found.total() for found in counts.values()), default=1)
    charts = []
    for app, found in sorted(counts.items()):
        bar, start = [], 0
        for kind in READING:
            if found[kind]:
                wide = max(3, found[kind] * BAR // longest)
                bar.append((str(kind), start, wide))
                start += wide
        charts.append((app, found.total(), dict(found), bar))
    return charts


def _reasons(planned: Plan, say: Speech) -> list[tuple[str, int, int]]:
    """Return the reasons of the blocks, each with its number and the width of its bar."""
    found = Counter(
        str(ban_of(action).get("reason") or say("unreasoned"))
        for action in planned.actions
        if isinstance(action, Block)
    )
    most = found.most_common(8)
    return [(why, count, max(3, count * BAR // most[0][1])) for why, count in most]


def _harmful(planned: Plan) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the destructive actions by kind, for paper and for readers without a script."""
    return [
        (
            str(kind),
            [
                (action.address, ", ".join(f"{row.path} {row}" for row in nested(action)))
                for action in planned.actions
                if action.kind is kind
            ],
        )
        for kind in DESTRUCTIVE
    ]


class _Table:
    """Texts by number, so that a page says each of them once."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))


def _accounts(planned: Plan, say: Speech, width: int, labels: Labels) -> dict[str, Any]:
    """Return the data of the page's list: an account a row, in numbers where texts repeat."""
    apps, files, paths, tags, reasons = _Table(), _Table(), _Table(), _Table(), _Table()
    rows = []
    for address, actions in groupby(planned.actions, key=lambda action: action.address):
        app, id = split(address)
        held = dict(labels.get(address, {}))
        told = []
        for action in actions:
            held |= _labels(action)
            fields = [[paths(row.path), row.before, row.after] for row in nested(action, width)]
            reason, file = reasons(say(action.reason)), files(visible(action.file))
            told.append([READING.index(action.kind), reason, file, action.line, fields])
        own = [tags(visible(f"{name}={held[name]}")) for name in sorted(held)]
        rows.append([apps(visible(app)), visible(id), own, told])
    return {
        "kinds": [[str(kind), SIGNS[kind]] for kind in READING],
        "apps": list(apps.texts),
        "files": list(files.texts),
        "paths": list(paths.texts),
        "tags": list(tags.texts),
        "reasons": list(reasons.texts),
        "accounts": rows,
        "words": {
            name: PHRASES[name].zh if say.language == "zh-CN" else PHRASES[name].en
            for name in _SPOKEN
        },
    }


def _labels(action: Action) -> dict[str, str]:
    return {
        change.path.removeprefix("labels."): str(change.after)
        for change in action.changes
        if change.path.startswith("labels.") and change.after is not None
    }


_MARKS: Final = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&"}


def _data(held: object) -> Markup:
    """Return JSON that can stand in a script element, whatever its texts hold."""
    plain = json.dumps(held, ensure_ascii=True, separators=(",", ":"))
    return Markup(plain.translate(_MARKS))  # noqa: S704 (nothing in it can end the element)
