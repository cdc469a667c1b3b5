"""Scenarios: what came of rehearsing them, for a terminal, for programs and for CI services."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from reconciler.diagnostics import Diagnostic, error
from reconciler.scenario import Mismatch, Played, Scenario
from reconciler.views.text import PLAIN, Painter, finding
from reconciler.views.words import LONG, for_xml, number, visible


def text(
    played: Sequence[Played], broken: Sequence[Diagnostic], paint: Painter = PLAIN
) -> Iterator[str]:
    """Yield a line for each scenario, what is not as expected, and last the count.

    `broken` are findings of files that could not be read; the caller tells them.
    """
    for one in played:
        name = visible(one.scenario.name, LONG)
        if not one.mismatches:
            yield f"ok    {name}"
            continue
        yield f"{paint('FAIL', 'error')}  {name}"
        for wrong in one.mismatches:
            yield f"      {_place(wrong)}: {_said(one.scenario, wrong)}{':' if wrong.lines else ''}"
            yield from (f"        {_painted(visible(line, LONG), paint)}" for line in wrong.lines)
    yield count(played, broken)


def count(played: Sequence[Played], broken: Iterable[Diagnostic]) -> str:
    """Return the last line."""
    failed = sum(bool(one.mismatches) for one in played)
    parts = [f"{len(played) - failed} passed", f"{failed} failed"]
    if files := len({one.source.file for one in broken if one.source}):
        parts.append(f"{number(files, 'file')} could not be read")
    return f"{number(len(played), 'scenario')}: {', '.join(parts)}."


def shape(played: Sequence[Played], broken: Iterable[Diagnostic]) -> dict[str, Any]:
    """Return the shape of `test --json`."""
    failed = sum(bool(one.mismatches) for one in played)
    return {
        "passed": len(played) - failed,
        "failed": failed,
        "scenarios": [
            {
                "name": one.scenario.name,
                "file": one.scenario.source.file,
                "line": one.scenario.source.line,
                "passed": not one.mismatches,
                "mismatches": [
                    {
                        "step": wrong.step,
                        "what": wrong.what,
                        "summary": wrong.summary,
                        "expected": [line[2:] for line in wrong.lines if line[0] in "- "],
                        "actual": [line[2:] for line in wrong.lines if line[0] in "+ "],
                        "file": wrong.source.file,
                        "line": wrong.source.line,
                    }
                    for wrong in one.mismatches
                ],
            }
            for one in played
        ],
        "diagnostics": [one.to_json() for one in broken],
    }


def notices(played: Iterable[Played], broken: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """Yield what is wrong as findings, for annotations."""
    yield from broken
    for one in played:
        for wrong in one.mismatches:
            yield error(
                f"unexpected-{wrong.what}",
                f"{visible(one.scenario.name, LONG)}: {_said(one.scenario, wrong)}",
                detail="; ".join(wrong.lines),
                source=wrong.source,
            )


def junit(played: Iterable[Played], broken: Iterable[Diagnostic]) -> Iterator[str]:
    """Yield the report: a suite for each file, a case for each scenario."""
    suites: dict[str, Element] = {}
    root = Element("testsuites", name="reconciler test")

    def case(file: str, name: str) -> Element:
        if file not in suites:
            suites[file] = SubElement(root, "testsuite", name=for_xml(file))
        return SubElement(suites[file], "testcase", classname=for_xml(file), name=for_xml(name))

    for bad in broken:
        file = bad.source.file if bad.source else ""
        failure = SubElement(case(file, bad.id), "failure", message=for_xml(bad.summary))
        failure.text = "\n".join(for_xml(line) for line in finding(bad).split("\n"))
    for one in played:
        made = case(one.scenario.source.file, one.scenario.name)
        for wrong in one.mismatches:
            told = f"{_place(wrong)}: {_said(one.scenario, wrong)}"
            failure = SubElement(made, "failure", type=wrong.what, message=for_xml(told))
            failure.text = "\n".join(for_xml(line) for line in wrong.lines)
    for suite in suites.values():
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(sum(one.find("failure") is not None for one in suite)))
    indent(root)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield from tostring(root, encoding="unicode").splitlines()


def _said(scenario: Scenario, wrong: Mismatch) -> str:
    step = f"step {wrong.step}: " if wrong.step and len(scenario.steps) > 1 else ""
    return f"{step}{visible(wrong.summary, LONG)}"


def _place(wrong: Mismatch) -> str:
    return visible(f"{wrong.source.file}:{wrong.source.line}", 500)


def _painted(line: str, paint: Painter) -> str:
    colour = {"-": "error", "+": "create"}.get(line[:1])
    return paint(line, colour) if colour else line
