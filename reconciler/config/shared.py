"""Shared: the account files as several processes read them, sheet by sheet and in order.

They read as one process would, and tell nothing: wherever there is something to tell, the file is
left to be read alone. So what is told cannot differ.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from reconciler.config.alone import clean, goes_on
from reconciler.config.crew import Crew
from reconciler.config.cuts import Part, Uncut, parts
from reconciler.config.files import Content, Found, Unreadable, opened
from reconciler.config.judge import Judge
from reconciler.config.sheet import Sheet, pack

FILES: Final = 16
"""Files that are under way at once."""


@dataclass(slots=True)
class _UnderWay:
    """A file whose parts are handed out: how many were, and how many came back.

    `ended`: there are no more. `hard`: it is to be read alone, whatever else comes back.
    """

    number: int
    parts: Iterator[Part]
    content: Content | None = None
    handed: int = 0
    taken: int = 0
    ended: bool = False
    hard: bool = False


class Shared:
    """Files that a crew reads, which is made now."""

    def __init__(self, root: Path, files: Sequence[Found], judge: Judge, count: int) -> None:
        self._root, self._files, self._judge = root, files, judge
        self._begun = 0
        self._under_way: deque[_UnderWay] = deque()
        self._crew = Crew(count, self._work)
        self.content = b""
        """The digest of the bytes of the file that was yielded last; empty if it was not read."""

    def sheets(self) -> Iterator[Sheet | None]:
        """Yield the next file in sheets; None at last if it is to be read alone.

        The sheets are then the beginning of it. Raises ReconcilerError for a process that ended.
        """
        self._feed()
        file = self._under_way[0]
        name = self._files[file.number].file
        while file.taken < file.handed:
            columns, documents = self._crew.take()
            file.taken += 1
            file.hard = file.hard or not columns
            if not file.hard:
                yield Sheet(columns, documents, name)
            self._feed()
        self._under_way.popleft()
        self.content = b"" if file.hard or not file.content else file.content.digest
        if file.hard:
            yield None

    def close(self) -> None:
        """End the crew."""
        self._crew.close()

    def _feed(self) -> None:
        """Hand out what comes next, of this file and those behind it, while the crew has room."""
        while self._crew.room:
            if not self._under_way or self._under_way[-1].ended:
                if self._begun == len(self._files) or len(self._under_way) == FILES:
                    return
                self._under_way.append(self._open(self._begun))
                self._begun += 1
            file = self._under_way[-1]
            part = None
            try:
                part = None if file.hard else next(file.parts, None)
            except (Uncut, Unreadable):
                file.hard = True
            if part is None:
                file.ended = True
            else:
                self._crew.hand(file.number, part)
                file.handed += 1

    def _open(self, number: int) -> _UnderWay:
        found = self._files[number]
        name = found.file

        def read() -> Iterator[Part]:
            with opened(self._root / name, name) as file.content:
                # What stands behind the accounts may say something about those of every part.
                file.hard = goes_on(file.content, found)
                if not file.hard:
                    yield from parts(file.content, name)

        file = _UnderWay(number, read())
        return file

    def _work(self, number: int, part: Part) -> tuple[bytes, bytes]:
        """Read a part in one of the crew's processes; nothing where there is something to tell."""
        found = self._files[number]
        self._judge.sinks = {}
        accounts = clean(self._judge, found, BytesIO(part.data), whole=part.whole)
        return (b"", b"") if accounts is None else pack(accounts, self._judge.sinks, part.shift)
