"""Measure how long a plan of many actions takes to be said in each format."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from reconciler.accounts import Address
from reconciler.changes import Block, Change, Plan, Reason, Update, fingerprint
from reconciler.guard import Judgement
from reconciler.planfile import encode
from reconciler.views import html, markdown, text


def plan(count: int) -> Plan:
    """Return a plan of this many actions, every fifth a block."""
    updates = (
        Change("profile.extension", '{"level": 1}', '{"level": 2}'),
        Change("profile.name", "Somebody", "Somebody else"),
        Change("profile.sign", "hello", "good bye"),
    )
    ban = (
        Change("banned", False, True),
        Change("banned.evidence", None, ["https://moderation.example.com/cases/1"]),
        Change("banned.reason", None, "spam"),
        Change("banned.ticket", None, "TS-1042"),
    )
    actions = tuple(
        (Update if number % 5 else Block)(
            Address(f"cn-prod/user-{number:07}"),
            Reason.CONFIG_CHANGED if number % 5 else Reason.BAN_DECLARED,
            4,
            updates if number % 5 else ban,
            "accounts/all.yaml",
            number + 2,
        )
        for number in range(count)
    )
    moment = "2027-01-15T08:00:00Z"
    return Plan("bench", "l", 1, moment, moment, actions, fingerprint(actions))


def measured(count: int, repeat: int) -> Iterable[tuple[str, str, list[float], float, int]]:
    """Yield of each format its name, bound, ratios to the plan file, best seconds, and bytes."""
    made, judged = plan(count), Judgement(())
    formats: tuple[tuple[str, str, Callable[[], Iterable[str]]], ...] = (
        ("text", "1 s", lambda: text.plan(made)),
        ("markdown", "1 s", lambda: markdown.plan(made, judged)),
        ("html", "3 s, 8 MiB", lambda: html.plan(made, judged)),
    )
    for name, bound, view in formats:
        ratios, best, size = [], float("inf"), 0
        for _ in range(repeat):
            began = time.perf_counter()
            encode(made, "1.0")
            between = time.perf_counter()
            size = sum(len(line.encode()) + 1 for line in view())
            ended = time.perf_counter()
            ratios.append((ended - between) / (between - began))
            best = min(best, ended - between)
        yield name, bound, ratios, best, size
