"""Fields: what is written in a section becomes its values, or is told where it does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.config import scalars
from reconciler.config.close import close
from reconciler.config.report import Path, Raw, Report
from reconciler.config.scalars import NULLS, Wrong
from reconciler.config.table import Rule
from reconciler.diagnostics import Severity


def fields(raw: Any, rules: Mapping[str, Rule], where: Path, report: Report) -> Raw:
    """Return the values of a section; reports what does not fit."""
    if not isinstance(raw, dict):
        no_mapping(raw, where, report)
        return {}
    made: Raw = {}
    for name, value in raw.items():
        rule = rules.get(name)
        if rule is None:
            report(
                (*where, name),
                "unknown-key",
                f"There is no field {name[:80]!r} here.",
                close(name, rules),
            )
            continue
        if rule.lacking:
            supported(rule, (*where, name), report)
            continue
        if rule.text and value.__class__ is str and value not in NULLS:
            found = value
        else:
            try:
                found = rule.convert(value)
            except Wrong as wrong:
                _tell(wrong, (*where, name), report)
                if wrong.severity is Severity.ERROR:
                    continue
                found = scalars.word(value)
        made[name] = found
        if rule.chosen or (
            rule.reach is not None and isinstance(found, str) and len(found) > rule.reach
        ):
            _bounded(found, rule, (*where, name), report)
    return made


def _bounded(value: Any, rule: Rule, where: Path, report: Report) -> None:
    path = ".".join(where)
    for bound in rule.bounds:
        if bound.choices and value not in bound.choices:
            report(
                where,
                "bad-choice",
                f"{bound.provider} does not take {str(value)[:80]!r} as {path}.",
                close(str(value), map(str, bound.choices)),
            )
        if bound.most is None or not isinstance(value, str):
            continue
        size = len(value.encode(errors="replace")) if bound.bytes else len(value)
        if size > bound.most:
            unit = "bytes" if bound.bytes else "characters"
            report(
                where,
                "too-long",
                f"{path} has {size} {unit}; {bound.provider} takes {bound.most}.",
                "shorten it",
            )


def supported(rule: Rule, where: Path, report: Report) -> None:
    """Report the providers that have no such field."""
    for name in rule.lacking:
        report(
            where,
            "unsupported-field",
            f"{name} has no field {'.'.join(where)}.",
            "remove it, or give the account to another provider",
        )


def texts(raw: Any, where: Path, report: Report) -> Raw:
    """Return a mapping of texts; reports what is none."""
    if not isinstance(raw, dict):
        no_mapping(raw, where, report)
        return {}
    return {name: read(scalars.word, value, (*where, name), report) for name, value in raw.items()}


def choice(value: Any, choices: tuple[str, ...], where: Path, report: Report) -> str | None:
    """Return a text; reports one that is none of the choices."""
    text: str | None = read(scalars.word, value, where, report)
    if text is not None and text not in choices:
        report(
            where,
            "bad-choice",
            f"{text[:80]!r} is none of {', '.join(choices)}.",
            close(text, choices),
        )
    return text


def read(convert: Any, value: Any, where: Path, report: Report) -> Any:
    """Return what becomes of a value, None, and a report, where nothing does."""
    try:
        return convert(value)
    except Wrong as wrong:
        _tell(wrong, where, report)
        return None


def _tell(wrong: Wrong, where: Path, report: Report) -> None:
    report((*where, *wrong.path), wrong.id, wrong.summary, wrong.hint, wrong.severity)


def no_mapping(raw: Any, where: Path, report: Report) -> None:
    """Report what stands where a mapping should."""
    if scalars.is_null(raw):
        report(where, "null", "null is no value.", "leave it out, or write {}")
    else:
        report(where, "wrong-type", "A mapping is expected here.", "write key: value pairs beneath")
