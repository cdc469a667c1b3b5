"""Declarative reconciler for the accounts of instant-messaging apps.

`from reconciler import load, plan, apply` is for programs that embed it; `reconciler.api` says what
each does. Importing this costs nothing: what is used is loaded when it is.
"""

__version__ = "0.1.0"

__all__ = ["Planned", "Workspace", "apply", "errors", "events", "load", "plan"]

TYPE_CHECKING = False  # as in `typing`, which is not worth its import time here
if TYPE_CHECKING:
    from reconciler import errors, events
    from reconciler.api import Planned, Workspace, apply, load, plan


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in ("errors", "events"):
        return import_module(f"{__name__}.{name}")
    found = getattr(import_module(f"{__name__}.api"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
