"""Pen: what is told while a scenario file is read, and how accounts are named in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, Final

from reconciler.accounts import Address, split
from reconciler.capabilities import Capabilities
from reconciler.config.built import Built
from reconciler.config.careful import Careful
from reconciler.config.close import close
from reconciler.config.files import Found
from reconciler.config.judge import Judge
from reconciler.config.schema import typed
from reconciler.diagnostics import Diagnostic, Source, error
from reconciler.scenario import MISSING, Sight
from reconciler.workspace import Workspace

MOST: Final = 1000
"""Accounts that one `{1..40}` stands for at most."""

_SERIES: Final = re.compile(r"\{(\d{1,6})\.\.(\d{1,6})\}")
_SECTIONS: Final = ("profile", "configuration")


@dataclass(frozen=True, slots=True)
class Pen:
    """What every part of a reading needs: where it is, and how to say what is wrong there."""

    name: str
    whole: Built
    findings: list[Diagnostic]
    workspace: Workspace
    capabilities: Mapping[str, Capabilities]

    def tell(
        self, built: Built, path: tuple[Any, ...], id: str, summary: str, hint: str = ""
    ) -> None:
        """Append a finding about what stands at a path of a part."""
        finding = error(id, summary, hint=hint, source=self.source(built, path, id))
        if finding not in self.findings:
            self.findings.append(finding)

    def source(self, built: Built, path: tuple[Any, ...] = (), id: str = "unknown-key") -> Source:
        """Return the place of a key, or of the value where a finding (`id`) is about that."""
        return Source(self.name, *(built.place(path, id) or (1, 1)))

    def series(self, built: Built, path: tuple[Any, ...], text: str) -> Iterator[str]:
        """Yield what `user-{1..40}` stands for; any other text stands for itself."""
        found = _SERIES.search(text)
        if found is None:
            yield text
            return
        first, last = int(found[1]), int(found[2])
        if not first <= last < first + MOST:
            self.tell(
                built,
                path,
                "out-of-range",
                f"{found[0]} stands for no account, or for more than {MOST:,}.",
                "write {1..40}",
            )
            return
        width = len(found[1]) if found[1].startswith("0") else 0
        for number in range(first, last + 1):
            yield f"{text[: found.start()]}{number:0{width}}{text[found.end() :]}"

    def careful(self, file: str | None = None) -> Careful:
        """Return what reads accounts as if they stood in a file, which need not exist.

        An empty name stands for a file of the only glob, if there is only one; None for no file.
        """
        globs = self.workspace.accounts
        if file != "" or len(globs) > 1:
            globs = tuple(glob for glob in globs if file and covers(glob.pattern, file))
        return Careful(Judge(self.workspace, self.capabilities), Found(self.name, globs))

    def addresses(self, built: Built, path: tuple[Any, ...], text: str) -> Iterator[Address]:
        """Yield the accounts that a text names: `provider/id`, or `id` where there is one app."""
        for one in self.series(built, path, text):
            name, slash, id = one.partition("/")
            if not slash and len(self.workspace.apps) == 1:
                (name,), id = self.workspace.apps, one
            if name not in self.workspace.apps or not id:
                names = ", ".join(self.workspace.apps)
                self.tell(
                    built,
                    path,
                    "bad-address",
                    f"{one[:80]!r} names no account of a provider.",
                    f"write provider/id, with one of {names}",
                )
                return
            yield Address(f"{name}/{self.capabilities[name].id.fold(id)}")


def sight(pen: Pen, built: Built, where: Address, known: frozenset[str]) -> Sight:
    """Return what is said of one account at its vendor, in the values that it takes."""
    value, source = built.value, pen.source(built)
    if not isinstance(value, dict):
        if value != MISSING:
            summary = f"{str(value)[:80]!r} says nothing of an account."
            pen.tell(built, (), "bad-choice", summary, f"write {MISSING}, or a mapping")
        return Sight(source, exists=False)
    for key in value.keys() - known:
        summary = f"{key} has no place here."
        pen.tell(built, (key,), "unknown-key", summary, close(key, known))
    provider, id = split(where)
    fields = {key: value[key] for key in _SECTIONS if key in value}
    careful = pen.careful()
    place = (source.line, source.column)
    made = careful.judged(id, place, built._replace(value={**fields, "provider": provider}))
    pen.findings.extend(one for one in careful.findings if one not in pen.findings)
    document = made[0].written() if made and made[0].digest else {}
    told = typed(value, "scenario", "sight")
    return Sight(
        source,
        profile=document.get("profile", {}) if "profile" in fields else None,
        configuration=document.get("configuration", {}) if "configuration" in fields else None,
        banned=told.get("banned"),
        logged_in=told.get("logged_in"),
        token=told.get("token"),
        kicks=told.get("kicks"),
        notified=told.get("notified"),
    )


def covers(glob: str, file: str) -> bool:
    """Tell whether a glob beneath the workspace matches a path, `**` standing for any folders."""

    def fits(globs: tuple[str, ...], parts: tuple[str, ...]) -> bool:
        if not globs:
            return not parts
        if globs[0] == "**":
            return fits(globs[1:], parts) or (bool(parts) and fits(globs, parts[1:]))
        return bool(parts) and fnmatchcase(parts[0], globs[0]) and fits(globs[1:], parts[1:])

    return fits(PurePosixPath(glob).parts, PurePosixPath(file).parts)
