"""Exits: the exit codes of the command line."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line; they never depend on an output flag."""

    DONE = 0
    ERROR = 1
    CHANGES = 2
    PARTIAL = 3
    REFUSED = 4
    LOCKED = 5
    STALE = 6
    USAGE = 64
    INTERRUPTED = 130
