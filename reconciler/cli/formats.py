"""Formats: what the commands share that print a result in the format that was asked for."""

from __future__ import annotations

import os
from argparse import Namespace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.errors import ConfigError
from reconciler.views.phrases import ENGLISH, Speech

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.accounts import Address
    from reconciler.changes import Plan
    from reconciler.cli.console import Console
    from reconciler.drift import Drift
    from reconciler.guard import Judgement
    from reconciler.views.heartbeat import Heartbeat
    from reconciler.workspace import Workspace


def require(format: str) -> None:
    """Refuse a format whose libraries are not installed, before any work is done for it."""
    if format == "html" and find_spec("jinja2") is None:
        raise ConfigError.of(
            "no-report",
            "--format html needs jinja2, which is not installed",
            hint="pip install 'im-reconciler[report]'",
        )


def folder(arguments: Namespace) -> str:
    """Return where the workspace lies beneath the current folder, which in CI is the repository.

    It is empty for the folder itself and for one that is elsewhere: then files are named as they
    are in the workspace.
    """
    place = os.path.relpath(arguments.chdir)
    return "" if place == "." or place.split(os.sep)[0] == ".." else place.replace(os.sep, "/")


def show_plan(
    planned: Plan,
    judged: Judgement,
    format: str,
    console: Console,
    arguments: Namespace | None = None,
    labels: Mapping[Address, Mapping[str, str]] | None = None,
) -> None:
    """Print a plan in a format; `labels` are those recorded of the accounts it touches."""
    place = folder(arguments) if arguments else ""
    say = Speech(arguments.lang) if arguments else ENGLISH
    match format:
        case "json":
            from reconciler.planfile import shown

            console.json(shown(planned, __version__, judged))
        case "markdown":
            from reconciler.views import markdown

            console.lines(markdown.plan(planned, judged, say))
        case "html":
            from reconciler.views import html

            console.lines(html.plan(planned, judged, say, labels))
        case "gitlab":
            from reconciler.views import gitlab

            console.json(gitlab.plan(planned))
        case "github":
            from reconciler.views import github, notices

            console.commands(github.commands(notices.plan(planned, judged), place))
        case "sarif":
            from reconciler.views import notices, sarif

            console.json(sarif.log(notices.plan(planned, judged), __version__, place))
        case "junit":
            from reconciler.views import junit

            console.lines(junit.plan(planned, judged))
        case _:
            from reconciler.views import text

            console.lines(text.plan(planned, judged.approvals, console.paint, say))


def show_drift(
    found: Drift, beat: Heartbeat, workspace: Workspace, arguments: Namespace, console: Console
) -> None:
    """Print a drift report in the format that was asked for."""
    say = Speech(arguments.lang)
    match arguments.format:
        case "json":
            from reconciler.views import json

            console.json(json.drift(found, beat))
        case "markdown":
            from reconciler.views import markdown

            console.lines(markdown.drift(found, workspace.name, say))
        case "html":
            from reconciler.views import html

            console.lines(html.drift(found, workspace.name, say))
        case "gitlab":
            from reconciler.views import gitlab

            console.json(gitlab.drift(found))
        case "github":
            from reconciler.views import github, notices

            console.commands(github.commands(notices.drift(found), folder(arguments)))
        case "sarif":
            from reconciler.views import notices, sarif

            console.json(sarif.log(notices.drift(found), __version__, folder(arguments)))
        case "junit":
            from reconciler.views import junit

            console.lines(junit.drift(found, workspace.apps))
        case _:
            from reconciler.views import text

            console.lines(text.drift(found, console.paint, say))
