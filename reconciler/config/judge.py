"""Judge: one account as it was written becomes a desired account, or is told what is wrong.

The same judgement serves both ways of reading: the fast one is handed a `report` that gives up,
the careful one a `report` that collects findings. So they cannot disagree about values.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from reconciler.accounts import Account, Address
from reconciler.capabilities import Capabilities
from reconciler.config import scalars
from reconciler.config.references import References
from reconciler.config.report import Path, Raw, Report
from reconciler.config.scalars import NULLS, Wrong
from reconciler.config.table import Rule, Table, table
from reconciler.config.text import named
from reconciler.diagnostics import Severity
from reconciler.values import canonical, digest
from reconciler.workspace import Workspace

FIELDS: Final = frozenset(
    {
        "provider",
        "profile",
        "banned",
        "configuration",
        "token",
        "labels",
        "adopt",
        "manage",
        "on_absent",
        "protected",
    }
)
DEFAULTS: Final = FIELDS - {"banned", "token"}
SECTIONS: Final = ("profile", "configuration")
ON_ABSENT: Final = ("forget", "block", "error")
WHEN: Final = ("always", "on_create")


def close(word: str, choices: Iterable[str]) -> str:
    """Return the hint naming the closest choice, or all of them."""
    known = sorted(choices)
    near = difflib.get_close_matches(word[:80], known, 1, 0.5)
    return f"did you mean {near[0]}?" if near else f"choose from: {', '.join(known)}"


class Judge:
    """What holds for all accounts of a workspace; `within` narrows it to one file."""

    def __init__(self, workspace: Workspace, capabilities: Mapping[str, Capabilities]) -> None:
        self.capabilities = capabilities
        self.references = References(workspace)
        self.names = tuple(workspace.apps)
        self.tables: dict[Any, Table] = {}
        self.sinks: dict[str, tuple[str, int, str]] = {}

    def fit(self, defaults: Raw, report: Report) -> None:
        """Report what no account could take from the defaults of a file."""
        for name in defaults.keys() - DEFAULTS:
            report(
                (name,), "unknown-key", f"There is no default {name[:80]!r}.", close(name, DEFAULTS)
            )
        bench = Bench(self, "", {}, adopt=False)
        if "provider" in defaults:
            bench.table(defaults["provider"], report)
        bench.document(
            {key: value for key, value in defaults.items() if key in DEFAULTS},
            table((), self.capabilities),
            report,
        )
        if "adopt" in defaults:
            _read(scalars.flag, defaults["adopt"], ("adopt",), report)
        if "manage" in defaults:
            bench.once(defaults["manage"], report)

    def within(self, file: str, defaults: Raw, *, adopt: bool) -> Bench:
        """Return the judge of one file."""
        return Bench(self, file, defaults, adopt)


class Bench:
    """The judge of the accounts of one file with its defaults."""

    def __init__(self, judge: Judge, file: str, defaults: Raw, adopt: bool) -> None:
        self.judge, self.file, self.adopt = judge, file, adopt
        self.defaults = {key: value for key, value in defaults.items() if key in DEFAULTS}
        self.tables = judge.tables
        self.provider: Any = self.defaults.get(
            "provider", judge.names[0] if len(judge.names) == 1 else None
        )
        self.simple = not self.defaults.keys() - {"provider"} and not adopt

    def accounts(self, key: str, raw: Raw, line: int, report: Report) -> list[Account]:
        """Return the desired accounts of one written account, one per provider."""
        if not raw.keys() <= FIELDS:
            for name in raw.keys() - FIELDS:
                report(
                    (name,),
                    "unknown-key",
                    f"There is no key {name[:80]!r} here.",
                    close(name, FIELDS),
                )
        if not self.simple:
            raw = self._merged(raw)
        rules = self.table(raw.get("provider", self.provider), report)
        if rules is None:
            return []
        document = self.document(raw, rules, report)
        once: tuple[str, ...] = ()
        if "manage" in raw and (once := self.once(raw["manage"], report)):
            document["manage"] = dict.fromkeys(once, "on_create")
        data = canonical(document)
        hashed = digest(data)
        adopt = self.adopt
        if "adopt" in raw:
            adopt = bool(_read(scalars.flag, raw["adopt"], ("adopt",), report))
        siblings = []
        for prefix, rule in zip(rules.prefixes, rules.ids, strict=True):
            size = len(key) if rule.unit == "characters" else len(key.encode(errors="replace"))
            if size > rule.limit or not rule.pattern.fullmatch(key):
                report(
                    (),
                    "bad-id",
                    f"{key[:80]!r} is no account id in {prefix[:-1]}.",
                    f"an id there is {rule.words}{_foreign(key)}",
                )
            folded = rule.fold(key)
            if folded != key and key.isascii():
                report(
                    (),
                    "folded-id",
                    f"{prefix[:-1]} keeps the id {key[:80]!r} as {folded[:80]!r}.",
                    f"write {folded[:80]}",
                    Severity.WARNING,
                )
            siblings.append(Address(prefix + folded))
        several = tuple(siblings) if len(siblings) > 1 else ()
        until = document.get("ban", {}).get("until", "")
        if sink := document.get("token", {}).get("sink"):
            self._own_sink(sink, (self.file, line, key), several=bool(several), report=report)
        return [
            Account(where, data, hashed, self.file, line, adopt, once, several, until)
            for where in siblings
        ]

    def _own_sink(
        self, sink: str, place: tuple[str, int, str], *, several: bool, report: Report
    ) -> None:
        """Report a sink that would be given two tokens: the second would replace the first."""
        file, line, key = first = self.judge.sinks.setdefault(sink, place)
        if several:
            report(
                ("token", "sink"),
                "shared-sink",
                "An account in several apps gets a token of its own in each.",
                "write the account once an app, each with a sink of its own",
            )
        elif first != place:
            report(
                ("token", "sink"),
                "shared-sink",
                f"{sink[:80]} takes the token of {key[:80]} already ({file}:{line}).",
                "give every account a sink of its own",
            )

    def _merged(self, raw: Raw) -> Raw:
        """Return the account over the defaults: sections field by field, all else as a whole."""
        merged = {**self.defaults, **raw}
        for section in ("profile", "configuration", "labels", "manage"):
            over, under = raw.get(section), self.defaults.get(section)
            if isinstance(over, dict) and isinstance(under, dict):
                merged[section] = {**under, **over}
        return merged

    def table(self, written: Any, report: Report) -> Table | None:
        """Return the rules of the written providers, None where that is not known."""
        if written.__class__ is str and (found := self.tables.get(written)):
            return found
        if written is None:
            report(
                (),
                "no-provider",
                "The account names no provider.",
                f"write provider: with one of {', '.join(self.judge.names)}",
            )
            return None
        names = (written,) if isinstance(written, str) else written
        if not isinstance(names, tuple | list) or not names:
            report(("provider",), "wrong-type", "A provider or a list of them is expected here.")
            return None
        known = self.judge.capabilities
        for position, name in enumerate(names):
            path: Path = ("provider",) if isinstance(written, str) else ("provider", position)
            if (text := _read(scalars.word, name, path, report)) is None:
                return None
            if text not in known:
                report(
                    path,
                    "unknown-provider",
                    f"There is no provider {text[:80]!r}.",
                    close(text, known),
                )
                return None
        if len(set(names)) < len(names):
            report(("provider",), "twice", "A provider stands in the list twice.", "remove one")
        names = tuple(dict.fromkeys(str(name) for name in names))
        if names not in self.tables:
            self.tables[names] = table(names, known)
        if len(names) == 1:
            self.tables[names[0]] = self.tables[names]
        return self.tables[names]

    def document(self, raw: Raw, rules: Table, report: Report) -> Raw:
        """Return the Document of a merged account."""
        document: Raw = {}
        if "profile" in raw and (made := self._profile(raw["profile"], rules, report)):
            document["profile"] = made
        if "configuration" in raw and (
            made := _fields(raw["configuration"], rules.configuration, ("configuration",), report)
        ):
            document["configuration"] = made
        if "labels" in raw and (made := _texts(raw["labels"], ("labels",), report)):
            document["labels"] = made
        if "banned" in raw:
            _supported(rules.banned, ("banned",), report)
            if (ban := _ban(raw["banned"], rules, report)) is not None:
                document["ban"] = ban
        if "token" in raw:
            _supported(rules.token, ("token",), report)
            token = document["token"] = self.judge.references.token(raw["token"], report)
            for name in rules.vendor_token.lacking if token.get("generate") == "vendor" else ():
                report(
                    ("token", "generate"),
                    "unsupported-field",
                    f"{name} has no way to mint a token.",
                    "write generate: true, which mints it here and delivers it first",
                )
        if "protected" in raw:
            document["protected"] = _read(scalars.flag, raw["protected"], ("protected",), report)
        if "on_absent" in raw:
            document["on_absent"] = _choice(raw["on_absent"], ON_ABSENT, ("on_absent",), report)
        return document

    def _profile(self, raw: Any, rules: Table, report: Report) -> Raw:
        if not isinstance(raw, dict) or "custom" not in raw:
            return _fields(raw, rules.profile, ("profile",), report)
        rest = {key: value for key, value in raw.items() if key != "custom"}
        made = _fields(rest, rules.profile, ("profile",), report)
        written = raw["custom"]
        where = ("profile", "custom")
        if not isinstance(written, dict):
            _no_mapping(written, where, report)
        elif custom := _fields(written, {key: rules.custom(key) for key in written}, where, report):
            made["custom"] = custom
        return made

    def once(self, raw: Any, report: Report) -> tuple[str, ...]:
        """Return the sections that are set at creation only."""
        if not isinstance(raw, dict):
            _no_mapping(raw, ("manage",), report)
            return ()
        for section, when in raw.items():
            if section not in SECTIONS:
                report(
                    ("manage", section),
                    "unknown-key",
                    f"There is no section {section[:80]!r} here.",
                    close(section, SECTIONS),
                )
            _choice(when, WHEN, ("manage", section), report)
        return tuple(section for section in SECTIONS if raw.get(section) == "on_create")


def _foreign(key: str) -> str:
    """Name the first character that no id has: it may look like one that ids have."""
    found = next((character for character in key if not character.isascii()), "")
    return f"; {named(found)} is none of them" if found else ""


def _fields(raw: Any, rules: Mapping[str, Rule], where: Path, report: Report) -> Raw:
    """Return the values of a section; reports what does not fit."""
    if not isinstance(raw, dict):
        _no_mapping(raw, where, report)
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
            _supported(rule, (*where, name), report)
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


def _supported(rule: Rule, where: Path, report: Report) -> None:
    for name in rule.lacking:
        report(
            where,
            "unsupported-field",
            f"{name} has no field {'.'.join(where)}.",
            "remove it, or give the account to another provider",
        )


def _ban(raw: Any, rules: Table, report: Report) -> Raw | None:
    """Return the ban record, None for not banned."""
    if not isinstance(raw, dict):
        return {} if _read(scalars.flag, raw, ("banned",), report) else None
    plain = {key: value for key, value in raw.items() if key != "evidence"}
    ban = _fields(plain, rules.ban, ("banned",), report)
    if ban.get("kick") is True:
        del ban["kick"]
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
            ban["evidence"] = [
                _read(scalars.word, item, ("banned", "evidence", n), report)
                for n, item in enumerate(written)
            ]
    return ban


def _texts(raw: Any, where: Path, report: Report) -> Raw:
    if not isinstance(raw, dict):
        _no_mapping(raw, where, report)
        return {}
    return {name: _read(scalars.word, value, (*where, name), report) for name, value in raw.items()}


def _choice(value: Any, choices: tuple[str, ...], where: Path, report: Report) -> str | None:
    text: str | None = _read(scalars.word, value, where, report)
    if text is not None and text not in choices:
        report(
            where,
            "bad-choice",
            f"{text[:80]!r} is none of {', '.join(choices)}.",
            close(text, choices),
        )
    return text


def _read(convert: Any, value: Any, where: Path, report: Report) -> Any:
    try:
        return convert(value)
    except Wrong as wrong:
        _tell(wrong, where, report)
        return None


def _tell(wrong: Wrong, where: Path, report: Report) -> None:
    report((*where, *wrong.path), wrong.id, wrong.summary, wrong.hint, wrong.severity)


def _no_mapping(raw: Any, where: Path, report: Report) -> None:
    if scalars.is_null(raw):
        report(where, "null", "null is no value.", "leave it out, or write {}")
    else:
        report(where, "wrong-type", "A mapping is expected here.", "write key: value pairs beneath")
