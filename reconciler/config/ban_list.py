"""Ban list: the bans that moderators keep in a spreadsheet, saved as CSV.

Each row means `{adopt: true, banned: {…}}` of the account that it names. Spreadsheets rewrite what
they take for a number, a date or a formula; what they may have rewritten is told, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from reconciler.config.careful import Careful
from reconciler.config.close import close
from reconciler.config.report import Path
from reconciler.config.rows import twice

NEEDED: Final = ("id", "reason", "until", "ticket")
"""Columns of every sheet; a cell may be empty, but a missing column may have been lost."""

COLUMNS: Final[Mapping[str, str]] = {
    "id": "id",
    "reason": "banned.reason",
    "until": "banned.until",
    "ticket": "banned.ticket",
    "evidence": "banned.evidence",
    "kick": "banned.kick",
    "notify": "banned.notify",
    "banned": "banned",
    "provider": "provider",
}
"""What each column stands for."""

_AS_TEXT = "format the column as text, and write the cell again"
_FORMULA = re.compile(r"[=+@-].", re.DOTALL)
_FAILED = re.compile(r"#(?:#+|NULL!|DIV/0!|VALUE!|REF!|NAME\?|NUM!|N/A|SPILL!|CALC!)")
_NUMBER = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]+")
_FLAGS: Final = frozenset({"banned", "banned.kick"})


class BanList:
    """The layout of one sheet of bans."""

    needed: tuple[str, ...] = NEEDED

    def __init__(self) -> None:
        self.width = 0
        """Columns that the sheet has; one more is made for `banned`, where it has none."""
        self.told: Sequence[Path] = ()

    def header(self, careful: Careful, cells: list[str], line: int) -> list[str]:
        """Return the path of each column; they may be in any order and letter case."""
        names = [cell.strip().lower() for cell in cells]
        while not names[-1]:
            del names[-1]
        if len(names) == 1 and re.search("[;\t|]", names[0]):
            careful.tell(
                (line, 1),
                "bad-row",
                "No comma stands between the columns.",
                "save the sheet as CSV with commas, in UTF-8",
            )
            return []
        before = len(careful.findings)
        for position, name in enumerate(names, 1):
            place = (line, position)
            if name in names[: position - 1]:
                twice(careful, name, place)
            elif not name:
                careful.tell(place, "bad-key", "The column has no name.", close("", COLUMNS))
            elif name not in COLUMNS:
                summary = f"A sheet of bans has no column {name[:80]!r}."
                careful.tell(place, "unknown-key", summary, close(name, COLUMNS))
        # A column that is misspelt is missing as well, which is told once.
        for name in NEEDED if len(careful.findings) == before else ():
            if name not in names:
                hint = "add it" if name == "id" else "add it; its cells may be empty"
                careful.tell((line, 1), "missing-key", f"The sheet has no column {name}.", hint)
        if "provider" not in names and careful.bench.provider is None:
            careful.tell(
                careful.named_at,
                "no-provider",
                "Neither accounts_from nor a column names the provider of the sheet.",
                f"write provider: with one of {', '.join(careful.judge.names)}",
            )
        if len(careful.findings) > before:
            return []
        self.width = len(names)
        return [COLUMNS[name] for name in names] + ["banned"] * ("banned" not in names)

    def cells(self, careful: Careful, header: list[str], row: list[str], line: int) -> list[str]:
        """Return the cells as an account file would hold them."""
        self.told = ()
        cells = [cell.strip(" ") for cell in row]
        if not any(cells):
            return []
        if len(cells) < self.width or any(cells[self.width :]):
            careful.tell(
                (line, 1),
                "bad-row",
                f"The row has {len(cells)} of {self.width} cells."
                if len(cells) < self.width
                else f"The row has {len(cells)} cells, the header has {self.width}.",
                "quote cells that hold commas"
                if len(cells) > self.width
                else "end the sheet with a column that is filled in every row, as spreadsheets "
                "leave out empty cells at the end",
            )
            return []
        made = dict(zip(header, [*cells[: self.width], ""], strict=False))
        for position, (path, cell) in enumerate(made.items(), 1):
            before = len(careful.findings)
            _look(careful, path, cell, (line, position))
            if len(careful.findings) > before:
                self.told = (*self.told, tuple(path.split(".")))
        # Who is meant is not known, so nothing more can be said.
        return [] if ("id",) in self.told else list(_meant(made).values())


def _look(careful: Careful, path: str, cell: str, place: tuple[int, int]) -> None:
    """Tell of what a spreadsheet made of a cell, or would make of it."""
    if _FORMULA.match(cell):
        careful.tell(
            place,
            "formula",
            f"The cell begins like a formula: {cell[:40]!r}.",
            "begin it with a letter or a digit; an id that begins so goes into a YAML file",
        )
    elif _FAILED.fullmatch(cell):
        summary = f"The spreadsheet could not show the cell: {cell[:40]!r}."
        careful.tell(place, "rewritten", summary, _AS_TEXT)
    elif path == "id" and _NUMBER.fullmatch(cell):
        summary = f"A spreadsheet made a number of the id: {cell[:40]!r}."
        careful.tell(place, "rewritten", summary, f"{_AS_TEXT}, as digits are lost")
    elif path in _FLAGS and cell.lower() not in ("", "true", "false"):
        careful.tell(place, "wrong-type", "true or false is expected here.", "write one of them")


def _meant(made: dict[str, str]) -> dict[str, str]:
    """Return the cells of an account file that mean the same."""
    for path in _FLAGS & made.keys():
        # Spreadsheets write TRUE and FALSE.
        made[path] = made[path].lower()
    ban = [path for path in made if path.startswith("banned.")]
    if made["banned"] == "false":
        # The record stays in the sheet, for people, and says nothing any more.
        made |= dict.fromkeys(ban, "")
    elif not any(made[path] for path in ban):
        made["banned"] = "true"
    if made.get("banned.evidence"):
        made["banned.evidence"] = ";".join(made["banned.evidence"].replace(";", " ").split())
    return made
