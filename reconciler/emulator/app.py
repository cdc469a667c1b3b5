"""The emulator as one ASGI app: the routes of every vendor, and the control routes."""

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from reconciler.emulator import control
from reconciler.emulator.context import Context
from reconciler.emulator.vendors import VENDORS


def built(context: Context) -> ASGIApp:
    """Return the app that serves all vendors and the control routes of one context."""
    # Routes are tried in order: the vendors come first, because theirs is the path that is timed.
    vendors = [
        Route(path, exchange)
        for vendor in VENDORS.values()
        for path, exchange in vendor.routes(context)
    ]
    app = Starlette(routes=[*vendors, *control.routes(context)])
    app.router.redirect_slashes = False
    return app
