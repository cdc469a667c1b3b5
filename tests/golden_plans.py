"""The plans whose views are kept in tests/golden; `python tests/golden_plans.py` writes them anew.

Look at the difference that it makes before you commit it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

from core_accounts import PAST, SOON, TOKEN, account, planned, record
from core_store import Memory

import reconciler.diff as diffing
from reconciler.accounts import MISSING, Observed
from reconciler.changes import Change, Override, Plan, Reason, Update
from reconciler.diagnostics import Source, error, info, warning
from reconciler.drift import Drift, drift
from reconciler.guard import Approval, Judgement, guard
from reconciler.planfile import shape
from reconciler.values import canonical
from reconciler.views import github, gitlab, html, junit, markdown, notices, sarif, text
from reconciler.views.phrases import Speech
from reconciler.workspace import Rule

FOLDER = Path(__file__).parent / "golden"
ZH = Speech("zh-CN")
TODAY = "2027-01-15T20:00:00Z"

ATTACKS = {
    "clear-screen": "\x1b[2J\x1b[Hempty",
    "title-and-link": "\x1b]0;owned\x07\x1b]8;;https://evil.example\x07here\x1b]8;;\x07",
    "clipboard": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "c1": "\u009b2Jgone\u0085",
    "overwritten-line": "No changes.\rPlan: 0 to block",
    "backspaces": "block\b\b\b\b\ballow",
    "three-backticks": "```\n@everyone\n```",
    "ten-backticks": "`" * 10 + "\n",
    "table-break": "a | b\n|---|---|",
    "image": "<img src=x onerror=alert(1)>",
    "script": "</script><script>alert(1)</script><!--",
    "details": "</details></code></pre>",
    "comment": "--><!-- reconciler:plan:other -->",
    "mention": "@org/team #1 org/repo#2 GH-3",
    "link": "[here](https://evil.example) https://evil.example www.evil.example a@evil.example",
    "picture": "![x](https://evil.example/x.png)",
    "emphasis": "**bold** _x_ ~~gone~~ &lt;b&gt; $`x`$",
    "heading": "# Plan: 0 to block",
    "mask": "x\n::add-mask::Plan",
    "stop-commands": "::stop-commands::0123456789abcdef",
    "property": "x,line=1::error file=y::%0A%25:,",
    "azure": "##[error]all is lost",
    "azure-variable": "x\n##vso[task.setvariable variable=PATH]/tmp",
    "bidi": "\u202egnp.\u2066exe\u2069",
    "separators": "a\u2028::error::b\u2029c\u0085d",
    "xml": "]]><x a='b\"'>&\x00\ufffe\uffff",
    "template": "{{ 7*7 }}{% raw %}${7*7}",
    "prototype": '{"__proto__": {"x": 1}, "a": {"b": "</script>"}}',
    "other-host": "//evil.example/x.yaml",
    "formula": '=cmd|"/C calc"!A0',
    "surrogate": "\ud800",
    "long": "N" * 10_000,
}

NOTES = Judgement(
    (
        error(
            "over-limit",
            "the plan would block 37 accounts, the limit is 20",
            detail="300 accounts are recorded.",
            hint="if every one of them is meant: --allow block=37",
        ),
        warning("rule-vip", "update of cn/up: is vip", source=Source("accounts/b.yaml", 12, 3)),
    ),
    (Approval("big", ("leads", "ops"), ("cn/ban", "cn/had")),),
)


def small() -> tuple[Plan, Judgement]:
    """Return a plan with every kind of action."""
    ban = {"reason": "spam", "ticket": "TS-1", "evidence": ["https://x.example/1"], "until": SOON}
    desired = [
        account("ban", ban=ban),
        account("short", ban={"reason": "fraud", "until": TODAY}),
        account("good"),
        account("over", ban={"reason": "old", "until": PAST}),
        account("had", adopt=True, ban={}),
        account("sleepy", ban={}, profile={"name": "Z"}),
        account("new", profile={"name": "客服", "gender": 1}, token=TOKEN, labels={"team": "x"}),
        account(
            "up",
            profile={"name": "B", "extension": '{"level": 4, "tags": {"a": 1}}'},
            configuration={"p2p_chat_banned": True},
            file="accounts/b.yaml",
            line=12,
        ),
        account("one", provider="sg", profile={"name": "S"}),
    ]
    recorded = Memory(
        record("ban"),
        record("short"),
        record("good", ban={"reason": "old"}),
        record("over", ban={"reason": "old", "until": PAST}),
        record("gone"),
        record("sleepy", ban={}, profile={"name": "Y"}),
        record("up", profile={"name": "A", "sign": "s", "extension": '{"level": 3}'}),
    )
    rule = Rule("ticket", ("block",), {}, "require", {"banned.ticket": {"pattern": "^TS-"}})
    reason = "found on a Sunday; TS-2041 is opened on Monday"
    made = planned(desired, recorded)
    made = replace(made, overrides=(Override(rule.id, reason, "ann@ci", rule.digest),))
    overridden = guard(made, recorded, {}, [rule], {}).overridden
    return replace(made, diagnostics=(*made.diagnostics, *overridden)), NOTES


def empty() -> tuple[Plan, Judgement]:
    """Return a plan in which nothing is to be done."""
    return planned([account()], Memory(record())), Judgement(())


def hostile(evils: Iterable[str] = ATTACKS.values()) -> tuple[Plan, Judgement]:
    """Return a plan that says hostile texts in every place that takes any."""
    desired, recorded, others, notes, approvals = [], [], [], [], []
    for number, evil in enumerate(evils):
        id = f"u{number:02d}"
        held = {"profile": {"name": evil, "extension": evil}, "labels": {"t": evil}}
        recorded += [record(id, profile={"name": evil + "2"}), record(f"old-{id}", ban={})]
        ban = {"reason": evil, "ticket": evil, "evidence": [evil], "notify": evil}
        desired += [account(id, file=f"{evil}.yaml", ban=ban, **held), account(f"old-{id}")]
        desired.append(account(f"new-{id}", **held, token={"from": evil, "version": 1}))
        changes = (Change(evil, evil, evil), Change("token", evil, evil, token={"sink": evil}))
        others.append(Update(f"cn/{evil or id}", Reason.DRIFT, 1, changes, evil, 1))
        place = Source(evil, 3, 4)
        notes += [
            error(evil or "x", evil, detail=evil, hint=evil, source=place, address=f"cn/{evil}"),
            warning("w", evil, source=place),
            info("waiting", evil, detail=evil),
        ]
        approvals.append(Approval(evil, (evil, "leads"), (f"cn/{id}",)))
    made = planned(desired, Memory(*recorded))
    made = replace(
        made,
        actions=tuple(sorted((*made.actions, *others), key=lambda one: one.address)),
        workspace="".join(evils)[:300],
        as_of="2027-01-15T08:00:00Z" + "".join(evils)[:50],
        cost={evil or "x": next(iter(made.cost.values())) for evil in evils},
        overrides=(Override(*["".join(evils)] * 4),),
    )
    return made, Judgement(tuple(notes), tuple(approvals))


def big(count: int = 1200, blocks: int = 40) -> tuple[Plan, Judgement]:
    """Return a plan of many actions that fits no comment with all its fields."""
    ids = [f"user-{number:05d}" for number in range(count)]
    profile = {"name": "Before", "sign": "a sign of ordinary length", "extension": '{"n": 1}'}
    after = {"name": "Somebody after", "sign": "another sign", "extension": '{"n": 2}'}
    ban = {"reason": "spam", "ticket": "TS-1"}
    desired = [
        account(id, profile=profile, ban=ban) if number < blocks else account(id, profile=after)
        for number, id in enumerate(ids)
    ]
    recorded = Memory(*(record(id, profile=profile) for id in ids))
    # The same two extensions are compared over and over, which takes most of the time.
    with patch.object(diffing, "_same_json", cache(diffing._same_json)):
        return planned(desired, recorded), Judgement(())


def drifted(evils: Iterable[str] = ("B",)) -> Drift:
    """Return a drift report with every kind of account."""
    pairs = [(record("fine"), Observed(True, {}, {}, False))]
    for number, evil in enumerate(evils):
        seen = Observed(True, {"name": evil}, {}, True)
        pairs += [
            (record(f"a{number}{evil}", profile={"name": "A"}), seen),
            (record(f"b{number}{evil}"), MISSING),
            (record(f"c{number}{evil}"), None),
        ]
    return drift(pairs)


PLANS: Mapping[str, Callable[[], tuple[Plan, Judgement]]] = {
    "small": small,
    "empty": empty,
    "hostile": hostile,
    "big": big,
}
DRIFTS: Mapping[str, Callable[[], Drift]] = {
    "small": drifted,
    "empty": lambda: drift([]),
    "hostile": lambda: drifted(ATTACKS.values()),
    "big": lambda: drifted(["B"] * 700),
}


def plan_views(made: Plan, judged: Judgement) -> dict[str, str]:
    """Return every view of a plan by the name of its file's ending."""
    findings = notices.plan(made, judged)
    views: dict[str, Iterable[str]] = {
        "text": text.plan(made, judged.approvals),
        "zh.text": text.plan(made, judged.approvals, say=ZH),
        "markdown": markdown.plan(made, judged),
        "zh.markdown": markdown.plan(made, judged, ZH),
        "html": html.plan(made, judged),
        "zh.html": html.plan(made, judged, ZH),
        "github": (f"::{line}" for line in github.commands(findings, "im")),
        "junit": junit.plan(made, judged),
    }
    shown = {name: "".join(f"{line}\n" for line in lines) for name, lines in views.items()}
    shown["json"] = json_text(shape(made, "1.2", judged.approvals))
    shown["gitlab"] = json_text(gitlab.plan(made))
    shown["sarif"] = json_text(sarif.log(findings, "1.2", "im"))
    return shown


def drift_views(found: Drift) -> dict[str, str]:
    """Return every view of a drift report by the name of its file's ending."""
    findings = list(notices.drift(found))
    views: dict[str, Iterable[str]] = {
        "text": text.drift(found),
        "zh.text": text.drift(found, say=ZH),
        "markdown": markdown.drift(found, "prod-im"),
        "zh.markdown": markdown.drift(found, "prod-im", ZH),
        "html": html.drift(found, "prod-im"),
        "github": (f"::{line}" for line in github.commands(findings)),
        "junit": junit.drift(found, ("cn", "sg")),
    }
    shown = {name: "".join(f"{line}\n" for line in lines) for name, lines in views.items()}
    shown["gitlab"] = json_text(gitlab.drift(found))
    shown["sarif"] = json_text(sarif.log(findings, "1.2"))
    return shown


def json_text(value: object) -> str:
    """Return JSON as the command line prints it."""
    return canonical(value).decode().replace("##", "#\\u0023") + "\n"


def kept(view: str, shown: str) -> str:
    """Return what is kept of a view: of a page not its style and script, which are files anyway."""
    if view.endswith("html"):
        shown = re.sub(r"<(style|script)>.*?</\1>", r"<\1>…</\1>", shown, flags=re.DOTALL)
        return re.sub(r"sha256-[A-Za-z0-9+/=]+", "sha256-…", shown)
    if view in ("json", "sarif"):
        told = json.dumps(json.loads(shown), indent=1, ensure_ascii=True, sort_keys=True)
        return told + "\n"
    return shown


def views() -> dict[str, str]:
    """Return every file of the folder, by name."""
    files = {}
    for name, make in PLANS.items():
        for view, shown in plan_views(*make()).items():
            if name != "big" or view in ("text", "markdown", "zh.markdown", "github", "gitlab"):
                if view == "json" and name == "hostile":
                    continue  # whole values, ten thousand characters each
                files[f"plan-{name}.{view}"] = kept(view, shown)
    for name, found in DRIFTS.items():
        for view, shown in drift_views(found()).items():
            if name != "big" or view in ("text", "markdown", "github", "gitlab"):
                files[f"drift-{name}.{view}"] = kept(view, shown)
    return files


def main() -> None:
    """Write the folder anew."""
    FOLDER.mkdir(exist_ok=True)
    made = views()
    for stale in {one for one in FOLDER.iterdir() if one.is_file()} - {
        FOLDER / name for name in made
    }:
        stale.unlink()
    for name, shown in made.items():
        (FOLDER / name).write_text(shown, encoding="utf-8", newline="")


if __name__ == "__main__":
    main()
