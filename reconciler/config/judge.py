"""Judge: one account as it was written becomes a desired account, or is told what is wrong.

The same judgement serves both ways of reading: the fast one is handed a `report` that gives up,
the careful one a `report` that collects findings. So they cannot disagree about values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from reconciler.accounts import Account, Address
from reconciler.capabilities import Capabilities
from reconciler.config import scalars
from reconciler.config.bans import ban, reasoned
from reconciler.config.close import close
from reconciler.config.defaults import Layer, layers, located, over
from reconciler.config.fields import choice, fields, no_mapping, read, supported, texts
from reconciler.config.lint import levelled, levels, look, look_into
from reconciler.config.references import References
from reconciler.config.report import Path, Raw, Report
from reconciler.config.table import Table, table
from reconciler.config.text import named
from reconciler.diagnostics import Diagnostic, Severity
from reconciler.values import canonical, digest
from reconciler.workspace import Glob, Workspace

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


class Judge:
    """What holds for all accounts of a workspace; `within` narrows it to one file."""

    def __init__(
        self,
        workspace: Workspace,
        capabilities: Mapping[str, Capabilities],
        moment: datetime | None = None,
    ) -> None:
        self.capabilities = capabilities
        self.reasons, self.moment = workspace.ban_reasons, moment
        self.references = References(workspace)
        self.names = tuple(workspace.apps)
        self.tables: dict[Any, Table] = {}
        self.sinks: dict[str, tuple[str, int, str]] = {}
        self.levels = levels(workspace)
        self._levelled = bool(workspace.lint)
        self.reserved = {
            name: frozenset((*capabilities[name].reserved, str(app.credentials.get("admin", ""))))
            for name, app in workspace.apps.items()
            if name in capabilities
        }

    def report(self, report: Report) -> Report:
        """Return a report that tells what `lint` switches as the workspace wants it."""
        return levelled(report, self.levels) if self._levelled else report

    def fit(self, defaults: Raw, report: Report) -> None:
        """Report what no account could take from the defaults of a file or of a glob."""
        report = self.report(report)
        for name in defaults.keys() - DEFAULTS:
            report(
                (name,), "unknown-key", f"There is no default {name[:80]!r}.", close(name, DEFAULTS)
            )
        bench = Bench(self, "", {})
        if "provider" in defaults:
            bench.table(defaults["provider"], report)
        bench.document(
            {key: value for key, value in defaults.items() if key in DEFAULTS},
            table((), self.capabilities),
            report,
        )
        if "adopt" in defaults:
            read(scalars.flag, defaults["adopt"], ("adopt",), report)
        if "manage" in defaults:
            bench.once(defaults["manage"], report)

    def unfit(self, globs: Iterable[Glob]) -> list[Diagnostic]:
        """Return what no account could take from the defaults of globs."""
        findings = []
        for glob in globs:
            above = layers((glob,))

            def report(
                path: Path,
                id: str,
                summary: str,
                hint: str = "",
                severity: Severity = Severity.ERROR,
                above: tuple[Layer, ...] = above,
            ) -> None:
                place = located(path, id, above)
                findings.append(Diagnostic(severity, id, summary, hint=hint, source=place))

            self.fit(dict(glob.defaults), report)
        return findings

    def within(self, file: str, defaults: Raw) -> Bench:
        """Return the judge of one file; `defaults` lie beneath all of its accounts."""
        return Bench(self, file, defaults)


class Bench:
    """The judge of the accounts of one file with its defaults."""

    def __init__(self, judge: Judge, file: str, defaults: Raw) -> None:
        self.judge, self.file = judge, file
        self.defaults = {key: value for key, value in defaults.items() if key in DEFAULTS}
        self.tables = judge.tables
        self.provider: Any = self.defaults.get(
            "provider", judge.names[0] if len(judge.names) == 1 else None
        )
        self.simple = not self.defaults.keys() - {"provider"}

    def accounts(self, key: str, raw: Raw, line: int, report: Report) -> list[Account]:
        """Return the desired accounts of one written account, one per provider."""
        report = self.judge.report(report)
        if not raw.keys() <= FIELDS:
            for name in raw.keys() - FIELDS:
                report(
                    (name,),
                    "unknown-key",
                    f"There is no key {name[:80]!r} here.",
                    close(name, FIELDS),
                )
        if not self.simple:
            raw = over(self.defaults, raw)
        rules = self.table(raw.get("provider", self.provider), report)
        if rules is None:
            return []
        document = self.document(raw, rules, report)
        once: tuple[str, ...] = ()
        if "manage" in raw and (once := self.once(raw["manage"], report)):
            document["manage"] = dict.fromkeys(once, "on_create")
        data = canonical(document)
        hashed = digest(data)
        adopt = "adopt" in raw and bool(read(scalars.flag, raw["adopt"], ("adopt",), report))
        siblings = []
        for prefix, rule in zip(rules.prefixes, rules.ids, strict=True):
            size = len(key) if rule.unit == "characters" else len(key.encode(errors="replace"))
            fits = size <= rule.limit and rule.pattern.fullmatch(key)
            if not fits:
                report(
                    (),
                    "bad-id",
                    f"{key[:80]!r} is no account id in {prefix[:-1]}.",
                    f"an id there is {rule.words}{_kept(key, rules, prefix)}{_foreign(key)}",
                )
            folded = rule.fold(key)
            if fits and folded != key:
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
        if self.judge.moment:
            self._lint(key, rules, document, report)
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

    def _lint(self, key: str, rules: Table, document: Raw, report: Report) -> None:
        """Report what is odd in an account; only validation has the time for it."""
        for name, rule in zip(rules.names, rules.ids, strict=True):
            look(key, name, rule, self.judge.reserved[name], report)
        look_into(document.get("profile", {}).get("extension", ""), report)

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
            if (text := read(scalars.word, name, path, report)) is None:
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
            made := fields(raw["configuration"], rules.configuration, ("configuration",), report)
        ):
            document["configuration"] = made
        if "labels" in raw and (made := texts(raw["labels"], ("labels",), report)):
            document["labels"] = made
        if "banned" in raw:
            supported(rules.banned, ("banned",), report)
            if (record := ban(raw["banned"], rules, report)) is not None:
                document["ban"] = record
                if self.judge.reasons:
                    reasoned(raw["banned"], record, self.judge.reasons, self.judge.moment, report)
        if "token" in raw:
            supported(rules.token, ("token",), report)
            token = document["token"] = self.judge.references.token(raw["token"], report)
            for name in rules.vendor_token.lacking if token.get("generate") == "vendor" else ():
                report(
                    ("token", "generate"),
                    "unsupported-field",
                    f"{name} has no way to mint a token.",
                    "write generate: true, which mints it here and delivers it first",
                )
        if "protected" in raw:
            document["protected"] = read(scalars.flag, raw["protected"], ("protected",), report)
        if "on_absent" in raw:
            document["on_absent"] = choice(raw["on_absent"], ON_ABSENT, ("on_absent",), report)
        return document

    def _profile(self, raw: Any, rules: Table, report: Report) -> Raw:
        if not isinstance(raw, dict) or "custom" not in raw:
            return fields(raw, rules.profile, ("profile",), report)
        rest = {key: value for key, value in raw.items() if key != "custom"}
        made = fields(rest, rules.profile, ("profile",), report)
        written = raw["custom"]
        where = ("profile", "custom")
        if not isinstance(written, dict):
            no_mapping(written, where, report)
        elif custom := fields(written, {key: rules.custom(key) for key in written}, where, report):
            made["custom"] = custom
        return made

    def once(self, raw: Any, report: Report) -> tuple[str, ...]:
        """Return the sections that are set at creation only."""
        if not isinstance(raw, dict):
            no_mapping(raw, ("manage",), report)
            return ()
        for section, when in raw.items():
            if section not in SECTIONS:
                report(
                    ("manage", section),
                    "unknown-key",
                    f"There is no section {section[:80]!r} here.",
                    close(section, SECTIONS),
                )
            choice(when, WHEN, ("manage", section), report)
        return tuple(section for section in SECTIONS if raw.get(section) == "on_create")


def _kept(key: str, rules: Table, prefix: str) -> str:
    """Name the beginning that the vendor keeps for ids of its own, where the id has one."""
    reserved = rules.capabilities[rules.prefixes.index(prefix)].reserved
    begins = (one.removesuffix("*") for one in reserved if one.endswith("*"))
    found = next((one for one in begins if key.startswith(one)), "")
    return f"; {found} begins ids that the vendor keeps for itself" if found else ""


def _foreign(key: str) -> str:
    """Name the first character that no id has: it may look like one that ids have."""
    found = next((character for character in key if not character.isascii()), "")
    if not found:
        return ""
    import unicodedata

    called = unicodedata.name(found, "")
    # A name that only repeats the number helps nobody.
    told = f" ({called})" if called and called[-4:] != named(found)[-4:] else ""
    return f"; {named(found)}{told} is none of them"
