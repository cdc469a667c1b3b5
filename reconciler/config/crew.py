"""Crew: processes of our own that read parts of account files, so that every core has work.

What a process does not bring whole is an error: an account that was lost on the way would be
planned as one that left. Each part that is handed out is taken back, in order, with its own
number, or `take` raises.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from reconciler.config.cuts import LARGEST, Part
from reconciler.errors import ConfigError, ReconcilerError

MOST: Final = 4
"""Processes that read; with more, what one process does with what they read is the bill."""

AHEAD: Final = 4
"""Parts that a process is given before the first of them is taken back."""

Work: TypeAlias = Callable[[int, Part], tuple[bytes, bytes]]
"""Reads a part of the file of this number; what it returns is what `take` gives."""

_TASK: Final = struct.Struct("=QIIqI?")
"""Number of the part, its file, its place, its shift, its bytes, whether it is the whole file."""
_TOLD: Final = struct.Struct("=QQQ")
"""Number of the part, bytes that follow: of the first result, and of the second."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_PIPE: Final = 1 << 20


def cores() -> int:
    """Return how many processes may be had here; 1 where none can be forked safely.

    Nor are there any where their ends go elsewhere: a program that embeds this may take them for
    its own, and where nobody is told of them, as some start a command, an id may be another's soon.
    """
    if sys.platform != "linux" or len(os.listdir("/proc/self/task")) > 1:
        return 1
    if signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL:
        return 1
    return min(MOST, len(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True)
class _Reader:
    """One process: its id, where its tasks go in, its results come out, and its parts lie."""

    pid: int
    tasks: int
    results: int
    place: mmap.mmap


class Crew:
    """So many processes that do `work`, made now; hand it parts in order, and take them so.

    Raises OSError where they cannot be had.
    """

    def __init__(self, count: int, work: Work) -> None:
        self._readers: list[_Reader] = []
        self._handed = self._taken = 0
        try:
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            try:
                for _ in range(count):
                    self._readers.append(self._fork(work))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        except BaseException:
            self.close()
            raise

    @property
    def room(self) -> bool:
        """Whether one more part can be handed out now."""
        return self._handed - self._taken < AHEAD * len(self._readers)

    def hand(self, file: int, part: Part) -> None:
        """Give the next process in turn a part to read."""
        number = self._handed
        reader = self._readers[number % len(self._readers)]
        slot = number // len(self._readers) % AHEAD * LARGEST
        reader.place[slot : slot + len(part.data)] = part.data
        task = _TASK.pack(number, file, slot, part.shift, len(part.data), part.whole)
        try:
            os.write(reader.tasks, task)
        except BrokenPipeError:
            raise self._died(reader) from None
        self._handed += 1

    def take(self) -> tuple[bytes, bytes]:
        """Return what became of the part that was handed out longest ago; waits for it.

        Raises ReconcilerError where its process ended before it had brought all of it.
        """
        number = self._taken
        reader = self._readers[number % len(self._readers)]
        told = _read(reader.results, _TOLD.size)
        if len(told) < _TOLD.size:
            raise self._died(reader)
        which, *sizes = _TOLD.unpack(told)
        one, other = (_read(reader.results, size) for size in sizes)
        if [which, len(one), len(other)] != [number, *sizes]:
            raise self._died(reader)
        self._taken += 1
        return one, other

    def close(self) -> None:
        """End the processes, whatever they are at; they hold nothing that could be lost."""
        while self._readers:
            self._end(self._readers.pop())

    def _fork(self, work: Work) -> _Reader:
        place = mmap.mmap(-1, AHEAD * LARGEST)
        tasks, hand = os.pipe()
        told, results = os.pipe()
        with suppress(OSError):
            fcntl.fcntl(told, fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            pid = os.fork()
        except OSError:
            for end in (tasks, hand, told, results):
                os.close(end)
            raise
        if pid:
            os.close(tasks)
            os.close(results)
            return _Reader(pid, hand, told, place)
        try:
            # Of the pipes of others a process must hold no end, or nobody notices who is gone.
            for end in (hand, told, *(e for r in self._readers for e in (r.tasks, r.results))):
                os.close(end)
            # An interrupt is for the one who handed out the work; it ends this process.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            _serve(tasks, results, place, work)
            os._exit(0)
        finally:
            os._exit(1)

    def _end(self, reader: _Reader) -> int:
        """End a process and return its exit code; one that has ended by itself keeps its own."""
        os.kill(reader.pid, signal.SIGKILL)
        _, status = os.waitpid(reader.pid, 0)
        os.close(reader.tasks)
        os.close(reader.results)
        reader.place.close()
        return os.waitstatus_to_exitcode(status)

    def _died(self, reader: _Reader) -> ReconcilerError:
        self._readers.remove(reader)
        code = self._end(reader)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return ConfigError.of(
            "reader-ended",
            f"a process that read account files ended before its time ({how})",
            detail="What it read is not known, so nothing was planned.",
            hint="run it again; if memory is short here, see what else runs",
        )


def _serve(tasks: int, results: int, place: mmap.mmap, work: Work) -> None:
    """Do tasks until there are no more; what goes wrong ends the process, and is noticed so."""
    while len(told := _read(tasks, _TASK.size)) == _TASK.size:
        number, file, slot, shift, size, whole = _TASK.unpack(told)
        one, other = work(file, Part(place[slot : slot + size], shift, whole))
        data = memoryview(_TOLD.pack(number, len(one), len(other)) + one + other)
        while data:
            data = data[os.write(results, data) :]


def _read(end: int, size: int) -> bytes:
    """Return so many bytes of a pipe, fewer only where it ended."""
    pieces = []
    while size and (piece := os.read(end, size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
