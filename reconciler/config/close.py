"""Close: what somebody may have meant who wrote something else."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def close(word: str, choices: Iterable[str]) -> str:
    """Return the hint naming the closest choice, or all of them."""
    known = sorted(choices)
    near = difflib.get_close_matches(word[:80], known, 1, 0.5)
    return f"did you mean {near[0]}?" if near else f"choose from: {', '.join(known)}"
