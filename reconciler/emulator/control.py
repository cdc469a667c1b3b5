"""The control routes below /_emulator/: the log, console edits, faults and guesses. Unsigned."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from reconciler.emulator.context import Context
from reconciler.emulator.faults import parsed
from reconciler.emulator.guesses import Guesses, changed, shown
from reconciler.emulator.store import Account, view
from reconciler.emulator.vendors import folded, stored_as

Handler = Callable[[Request], Awaitable[Response]]

_EDITS = ("profile", "configuration", "extra", "enabled", "logged_in", "token")


def routes(context: Context) -> list[BaseRoute]:
    """Return the control routes; a request they refuse answers 400 or 404 and {"error": words}."""
    control = _Control(context)
    table: dict[str, dict[str, Handler]] = {
        "/requests": {"GET": control.requests, "DELETE": control.clear_requests},
        "/accounts": {"GET": control.accounts},
        "/accounts/{vendor}/{app}": {"GET": control.accounts, "PUT": control.seed},
        "/accounts/{vendor}/{app}/{account_id:path}": {
            "GET": control.account,
            "PUT": control.put_account,
            "PATCH": control.edit_account,
            "DELETE": control.drop_account,
        },
        "/faults": {
            "GET": control.faults,
            "POST": control.add_faults,
            "DELETE": control.clear_faults,
        },
        "/guesses": {
            "GET": control.guesses,
            "PATCH": control.edit_guesses,
            "DELETE": control.reset_guesses,
        },
        "/throttle": {"DELETE": control.clear_throttle},
    }
    return [
        Route(f"/_emulator{path}", _answering(handler), methods=[method])
        for path, handlers in table.items()
        for method, handler in handlers.items()
    ]


class _Missing(Exception):
    """Say that what was asked for is not there."""


class _Control:
    """Hold the handlers; each raises ValueError or _Missing for what it refuses."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def requests(self, request: Request) -> Response:
        """Answer {"requests": [...], "last": n}: the log after `?since=N`, oldest first."""
        since = request.query_params.get("since", "0")
        if not (since.isascii() and since.isdigit()):
            raise ValueError("since is a sequence number")
        log = self._context.log
        entries = [entry.shown() for entry in log.since(int(since))]
        return _json({"requests": entries, "last": log.last})

    async def clear_requests(self, _request: Request) -> Response:
        """Empty the log; sequence numbers go on."""
        self._context.log.clear()
        return _json({"last": self._context.log.last})

    async def accounts(self, request: Request) -> Response:
        """Answer {"accounts": [...], "count": n}, of one app or of all."""
        accounts = self._context.store.all()
        if "vendor" in request.path_params:
            wanted = _app(request)
            accounts = [held for held in accounts if (held.vendor, held.app) == wanted]
        return _json({"accounts": [view(held) for held in accounts], "count": len(accounts)})

    async def seed(self, request: Request) -> Response:
        """Put many accounts at once: {"accounts": [{"account_id", ...edits}]} to {"count": n}."""
        given = (await _object(request)).get("accounts")
        if not isinstance(given, list):
            raise ValueError("accounts is a list")
        vendor, app = _app(request)
        seeded = []
        for item in given:
            if not isinstance(item, dict) or not isinstance(item.get("account_id"), str):
                raise ValueError("each of accounts is an object with an account_id")
            edit = {key: value for key, value in item.items() if key != "account_id"}
            seeded.append(_edited(self._new(vendor, app, item["account_id"]), edit))
        return _json({"count": self._context.store.put_all(seeded)})

    async def account(self, request: Request) -> Response:
        """Answer one account, its token as a SHA-256."""
        return _json(view(self._held(request)))

    async def put_account(self, request: Request) -> Response:
        """Put one account, whole, whatever was there."""
        account = self._new(*_app(request), request.path_params["account_id"])
        account = _edited(account, await _object(request))
        self._context.store.put(account)
        return _json(view(account))

    async def edit_account(self, request: Request) -> Response:
        """Change one account as a person at the vendor's console would; null unsets a field."""
        edit = await _object(request)
        account = replace(self._held(request), updated_at=self._context.clock.wall())
        account = _edited(account, edit)
        self._context.store.put(account)
        return _json(view(account))

    async def drop_account(self, request: Request) -> Response:
        """Let one account vanish."""
        held = self._held(request)
        self._context.store.delete(*held.key)
        return _json({"deleted": held.id})

    async def faults(self, _request: Request) -> Response:
        """Answer {"faults": [...]}: what is left of the script."""
        return _json({"faults": self._context.script.pending()})

    async def add_faults(self, request: Request) -> Response:
        """Append a list of faults, all or none, and answer the whole script."""
        given = await _body(request)
        if not isinstance(given, list):
            raise ValueError("the script is a list of faults")
        self._context.script.add([parsed(item) for item in given])
        return await self.faults(request)

    async def clear_faults(self, request: Request) -> Response:
        """Drop the script."""
        self._context.script.clear()
        return await self.faults(request)

    async def guesses(self, _request: Request) -> Response:
        """Answer the guesses by name."""
        return _json(shown(self._context.guesses))

    async def edit_guesses(self, request: Request) -> Response:
        """Change guesses by name."""
        self._context.guesses = changed(self._context.guesses, await _object(request))
        return await self.guesses(request)

    async def reset_guesses(self, request: Request) -> Response:
        """Return to the guesses the emulator starts with."""
        self._context.guesses = Guesses()
        return await self.guesses(request)

    async def clear_throttle(self, _request: Request) -> Response:
        """Forget the calls counted so far and lift every block."""
        self._context.throttle.clear()
        return _json({})

    def _new(self, vendor: str, app: str, account_id: str) -> Account:
        now = self._context.clock.wall()
        id_ = folded(vendor, account_id)
        return Account(vendor, app, id_, token=self._context.mint(), created_at=now, updated_at=now)

    def _held(self, request: Request) -> Account:
        vendor, app = _app(request)
        account_id = request.path_params["account_id"]
        held = self._context.store.get(vendor, app, folded(vendor, account_id))
        if held is None:
            raise _Missing(f"{vendor} app {app} has no account {account_id}")
        return held


def _answering(handler: Handler) -> Handler:
    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except _Missing as missing:
            return _json({"error": str(missing)}, 404)
        except (ValueError, RecursionError) as error:
            return _json({"error": str(error)}, 400)

    return answered


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value), status, media_type="application/json")


async def _body(request: Request) -> object:
    value: object = json.loads(await request.body())
    # A lone surrogate can be read as JSON and then be neither hashed nor sent.
    json.dumps(value, ensure_ascii=False).encode()
    return value


async def _object(request: Request) -> Mapping[str, object]:
    value = await _body(request)
    if not isinstance(value, dict):
        raise ValueError("the body is an object")
    return value


def _app(request: Request) -> tuple[str, str]:
    vendor = request.path_params["vendor"]
    return stored_as(vendor), request.path_params["app"]


def _edited(account: Account, edit: Mapping[str, object]) -> Account:
    for key in edit:
        if key not in _EDITS:
            raise ValueError(f"an account has {', '.join(_EDITS)} to edit, not {key!r}")
    for key in ("enabled", "logged_in"):
        if not isinstance(edit.get(key, False), bool):
            raise ValueError(f"{key} is true or false")
    token = edit.get("token", account.token)
    if token is not None and not isinstance(token, str):
        raise ValueError("token is a text or null")
    configuration = _merged("configuration", account.configuration, edit)
    if not all(isinstance(value, bool) for value in configuration.values()):
        raise ValueError("each flag of configuration is true or false")
    if "enabled" in configuration:
        raise ValueError("enabled stands beside configuration, not in it")
    return replace(
        account,
        token=token,
        enabled=edit.get("enabled", account.enabled) is True,
        logged_in=edit.get("logged_in", account.logged_in) is True,
        configuration=configuration,
        profile=_merged("profile", account.profile, edit),
        extra=_merged("extra", account.extra, edit),
    )


def _merged(
    key: str, held: Mapping[str, object], edit: Mapping[str, object]
) -> Mapping[str, object]:
    if key not in edit:
        return held
    given = edit[key]
    if not isinstance(given, dict):
        raise ValueError(f"{key} is an object")
    return {name: value for name, value in {**held, **given}.items() if value is not None}
