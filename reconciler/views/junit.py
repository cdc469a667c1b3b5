"""JUnit: one test case an app and check, for the test reports of CI services."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from reconciler.accounts import split
from reconciler.changes import Plan
from reconciler.diagnostics import Diagnostic, Severity
from reconciler.drift import Drift
from reconciler.guard import Judgement
from reconciler.views import notices
from reconciler.views.text import finding
from reconciler.views.words import for_xml, number

SHOWN: Final = 50
"""Findings that one test case lists; of the others the number is told."""

WHOLE: Final = "workspace"
"""The suite of what concerns no single app."""

_PLAN: Final = ("limits", "protected", "rules", "accounts")
_DRIFT: Final = ("drift-missing", "drift-changed", "drift-unread")


def plan(planned: Plan, judged: Judgement) -> Iterator[str]:
    """Yield the report of a plan: limits, protected accounts, rules, and all else, by app."""
    findings = [one for one in notices.plan(planned, judged) if one.severity is not Severity.INFO]
    apps = {*planned.cost, *(split(action.address)[0] for action in planned.actions)}
    return _report("plan", findings, apps, _PLAN, _check, (Severity.ERROR,))


def drift(found: Drift, apps: Iterable[str]) -> Iterator[str]:
    """Yield the report of a comparison: accounts missing, changed and not read, by app."""
    weights = (Severity.ERROR, Severity.WARNING)
    return _report("drift", notices.drift(found), apps, _DRIFT, lambda one: one.id, weights)


def findings(found: Sequence[Diagnostic]) -> Iterator[str]:
    """Yield the report of a validation: a test case for each kind of finding, one if none."""
    checks = list(dict.fromkeys(one.id for one in found)) or ["valid"]
    return _report("validate", found, (), checks, lambda one: one.id, (Severity.ERROR,))


def _check(one: Diagnostic) -> str:
    if one.id in ("over-limit", "empty"):
        return "limits"
    if one.id.startswith("rule-") or one.id in ("override", "idle-override"):
        return "rules"
    return one.id if one.id == "protected" else "accounts"


def _report(
    name: str,
    findings: Iterable[Diagnostic],
    apps: Iterable[str],
    checks: Iterable[str],
    check: Callable[[Diagnostic], str],
    failing: Sequence[Severity],
) -> Iterator[str]:
    """Yield the lines of a report; findings that do not fail a case are told beside it."""
    cases: dict[str, dict[str, list[Diagnostic]]] = {
        app: {one: [] for one in checks} for app in (WHOLE, *sorted(apps))
    }
    for one in findings:
        app = one.address.partition("/")[0] or WHOLE
        cases.setdefault(app, {}).setdefault(check(one), []).append(one)
    root = Element("testsuites", name=f"reconciler {name}")
    for app, held in cases.items():
        suite = SubElement(root, "testsuite", name=for_xml(app), tests=str(len(held)))
        failures = sum(_case(suite, app, each, found, failing) for each, found in held.items())
        suite.set("failures", str(failures))
    indent(root)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield from tostring(root, encoding="unicode").splitlines()


def _case(
    suite: Element, app: str, name: str, found: Sequence[Diagnostic], failing: Sequence[Severity]
) -> bool:
    case = SubElement(suite, "testcase", classname=for_xml(app), name=for_xml(name))
    wrong = [one for one in found if one.severity in failing]
    if wrong:
        told = for_xml(wrong[0].summary) if len(wrong) == 1 else number(len(wrong), "finding")
        SubElement(case, "failure", type=for_xml(name), message=told).text = _lines(wrong)
    if beside := [one for one in found if one.severity not in failing]:
        SubElement(case, "system-out").text = _lines(beside)
    return bool(wrong)


def _lines(found: Sequence[Diagnostic]) -> str:
    lines = [line for one in found[:SHOWN] for line in finding(one).split("\n")]
    if len(found) > SHOWN:
        lines.append(f"… and {number(len(found) - SHOWN, 'more finding')}")
    return "\n".join(for_xml(line, 5000) for line in lines)
