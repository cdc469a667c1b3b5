"""The emulator as one ASGI app: the routes of every vendor, and the control routes."""

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from reconciler.emulator import commsease, control, tencent, yunxin
from reconciler.emulator.context import Context

VENDORS = (yunxin.routes, commsease.routes, tencent.routes)
"""One function per vendor API; each returns its paths, given the shared context."""


def built(context: Context) -> ASGIApp:
    """Return the app that serves all vendors and the control routes of one context."""
    # Routes are tried in order: the vendors come first, because theirs is the path that is timed.
    vendors = [Route(path, exchange) for routes in VENDORS for path, exchange in routes(context)]
    app = Starlette(routes=[*vendors, *control.routes(context)])
    app.router.redirect_slashes = False
    return app
