"""The way of one vendor request: read, logged, met by a fault or answered."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, cast

from reconciler.emulator.context import Context
from reconciler.emulator.faults import Fault
from reconciler.emulator.log import Entry, hidden

if TYPE_CHECKING:  # the rules of the vendors are here for those, too, who have no server
    from starlette.types import Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]

MALFORMED: Final = object()
"""The body of a request whose bytes could not be read."""

_JSON = (b"content-type", b"application/json;charset=utf-8")
_HTML = (b"content-type", b"text/html;charset=utf-8")
_PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body>Bad gateway</body></html>"
_GARBAGE = b"\xff\xfe\x80\x81{\x9d\xa0\xc0\xc1\xf5\xff"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Call:
    """Hold one request to a vendor API.

    `headers` has lower-case names and `path_id` is the account id in the path, or empty. `at`
    is seconds of the monotonic clock and `wall` seconds since the epoch, both on arrival.
    """

    api: str
    method: str
    path: str
    path_id: str
    query: str
    headers: Mapping[str, str]
    body: object
    at: float
    wall: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold one business answer: the vendor code, the JSON object, whether a write was done."""

    code: int
    payload: Mapping[str, object]
    mutated: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """Hold one API: its name in log and faults, whom a call is about, and what it does.

    `ids` and `perform` never raise for anything a client can send.
    """

    api: str
    ids: Callable[[Call], tuple[str, ...]]
    perform: Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Vendor:
    """Hold what all APIs of one vendor share.

    `admit` judges signature, rate and repetition and returns the refusal, or None. `parse`
    reads a body and raises ValueError where it cannot. `fail` words the answer for a code.
    """

    name: str
    app: str
    admit: Callable[[Call], Answer | None]
    parse: Callable[[bytes], object]
    fail: Callable[[int], Answer]


class Asked(NamedTuple):
    """One request as it came; header names are in lower case."""

    method: str
    path: str
    path_id: str
    query: str
    headers: Mapping[str, str]
    raw: bytes


class _Met(NamedTuple):
    """One request that was read and logged, and the fault that it meets."""

    operation: Operation
    call: Call
    entry: Entry
    fault: Fault | None


class Exchange:
    """Serve one path of a vendor as an ASGI app: `operations` by method, `otherwise` the rest."""

    __slots__ = ("_context", "_operations", "_otherwise", "_vendor")

    def __init__(
        self,
        context: Context,
        vendor: Vendor,
        operations: Mapping[str, Operation],
        otherwise: Operation,
    ) -> None:
        self._context = context
        self._vendor = vendor
        self._operations = operations
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        raw = await _body(receive)
        if raw is None:
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        query = scope["query_string"].decode("latin-1")
        path_id = scope["path_params"].get("account_id", "")
        met = self._met(Asked(scope["method"], scope["path"], path_id, query, headers, raw))
        if met.fault is not None:
            failing = _Failing(
                self._context, self._vendor, met.operation, met.call, met.entry, met.fault
            )
            await failing.answer(scope, receive, send)
            return
        answer = executed(self._vendor, met.operation, met.call, met.entry)
        met.entry.status = 200
        await _respond(send, 200, _JSON, encoded(answer.payload))

    def at_once(self, asked: Asked) -> bytes:
        """Return the answer to one request in place; of faults a `code` is met, no other."""
        met = self._met(asked)
        if met.fault is not None and met.fault.kind == "code":
            answer = self._vendor.fail(met.fault.code)
            met.entry.code = answer.code
        else:
            answer = executed(self._vendor, met.operation, met.call, met.entry)
        met.entry.status = 200
        return encoded(answer.payload)

    def _met(self, asked: Asked) -> _Met:
        """Read and log a request, and take the fault that it meets from the script."""
        context, vendor = self._context, self._vendor
        operation = self._operations.get(asked.method, self._otherwise)
        call = self._read(asked, operation)
        account_ids = operation.ids(call)
        entry = Entry(
            seq=context.log.next(),
            at=call.at,
            wall=call.wall,
            vendor=vendor.name,
            app=vendor.app,
            api=operation.api,
            method=call.method,
            path=call.path,
            account_ids=account_ids,
            body=hidden(asked.raw, call.body) if asked.raw else b"",
        )
        context.log.add(entry)
        fault = None
        if context.script:
            facts = {
                "api": operation.api,
                "vendor": vendor.name,
                "method": call.method,
                "path": call.path,
            }
            fault = context.script.take(facts, account_ids)
            entry.fault = None if fault is None else fault.kind
        return _Met(operation, call, entry, fault)

    def _read(self, asked: Asked, operation: Operation) -> Call:
        clock = self._context.clock
        body: object = {}
        if asked.raw:
            try:
                body = self._vendor.parse(asked.raw)
            except (ValueError, RecursionError):
                body = MALFORMED
        return Call(
            api=operation.api,
            method=asked.method,
            path=asked.path,
            path_id=asked.path_id,
            query=asked.query,
            headers=asked.headers,
            body=body,
            at=clock.monotonic(),
            wall=clock.wall(),
        )


Paths: TypeAlias = "list[tuple[str, Exchange]]"
"""The paths of a vendor, tried in order: `{name}` is one part of a path, `{name:path}` the rest."""


def executed(vendor: Vendor, operation: Operation, call: Call, entry: Entry) -> Answer:
    """Carry a call out and note its outcome in the log entry."""
    answer = vendor.admit(call)
    if answer is None:
        answer = operation.perform(call)
    entry.code = answer.code
    entry.mutated = answer.mutated
    return answer


def encoded(payload: object) -> bytes:
    """Return JSON as the vendors send it: UTF-8, nothing escaped that need not be."""
    return _encode(payload).encode()


@dataclass(frozen=True, slots=True)
class _Failing:
    """Answer one request as its fault says."""

    context: Context
    vendor: Vendor
    operation: Operation
    call: Call
    entry: Entry
    fault: Fault

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self.fault
        match fault.kind:
            case "slow":
                await self._slow(receive, send)
            case "truncated" | "wrong_account" | "duplicate_keys":
                await self._mangled(scope, receive, send)
            case "hang":
                self._execute_if_asked()
                await self._waited(receive)
                await _cut(scope, receive, reset=False)
            case "late":
                loop = asyncio.get_running_loop()
                loop.call_later(fault.seconds, self._execute_unseen)
                await _cut(scope, receive, reset=False)
            case "close" | "reset":
                self._execute_if_asked()
                await _cut(scope, receive, reset=fault.kind == "reset")
            case "code" | "status" | "html" | "empty" | "garbage":
                self._execute_if_asked()
                await self._instead(send)

    def _execute(self) -> Answer:
        return executed(self.vendor, self.operation, self.call, self.entry)

    def _execute_unseen(self) -> None:
        self._execute()
        self.entry.code = None

    def _execute_if_asked(self) -> None:
        if self.fault.executed:
            self._execute_unseen()

    async def _instead(self, send: Send) -> None:
        fault, entry = self.fault, self.entry
        entry.status = fault.status if fault.kind == "status" else 200
        match fault.kind:
            case "code":
                answer = self.vendor.fail(fault.code)
                entry.code = answer.code
                await _respond(send, 200, _JSON, encoded(answer.payload))
            case "status" | "html":
                await _respond(send, entry.status, _HTML, _PAGE)
            case "garbage":
                await _respond(send, 200, _JSON, _GARBAGE)
            case _:
                await _respond(send, 200, _JSON, b"")

    async def _slow(self, receive: Receive, send: Send) -> None:
        if self.fault.executed:
            answer = self._execute()
            await self._waited(receive)
        else:
            await self._waited(receive)
            answer = self._execute()
        self.entry.status = 200
        await _respond(send, 200, _JSON, encoded(answer.payload))

    async def _mangled(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.fault.executed:
            payload = self._execute().payload
        else:
            with self.context.store.rehearsed():
                payload = self._execute().payload
            self.entry.mutated = False
        self.entry.status = 200
        match self.fault.kind:
            case "wrong_account":
                other = _swapped(payload, self.entry.account_ids)
                await _respond(send, 200, _JSON, encoded(other))
            case "duplicate_keys":
                await _respond(send, 200, _JSON, _doubled(payload))
            case _:
                body = encoded(payload)
                headers = [_JSON, (b"content-length", str(len(body) + 64).encode())]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                half = body[: len(body) // 2]
                await send({"type": "http.response.body", "body": half, "more_body": True})
                await _cut(scope, receive, reset=False)

    async def _waited(self, receive: Receive) -> None:
        """Wait for the fault's seconds, less when the client leaves or the server stops."""
        gone = asyncio.ensure_future(_gone(receive))
        stopping = asyncio.ensure_future(self.context.stopping.wait())
        try:
            await asyncio.wait(
                {gone, stopping},
                timeout=self.fault.seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            gone.cancel()
            stopping.cancel()


async def _body(receive: Receive) -> bytes | None:
    message = await receive()
    if message["type"] != "http.request":
        return None
    first: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return first
    parts = [first]
    while message.get("more_body", False):
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
    return b"".join(parts)


async def _respond(send: Send, status: int, kind: tuple[bytes, bytes], body: bytes) -> None:
    headers: Headers = [kind, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """End the connection: FIN after what is written, or RST at once."""
    transport = cast(asyncio.Transport, scope["state"]["transport"])
    if reset:
        peer = transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        transport.abort()
    else:
        transport.close()
    await _gone(receive)


def _swapped(value: object, account_ids: tuple[str, ...]) -> object:
    """Return the answer with each id the call was about replaced by another one."""
    if isinstance(value, Mapping):
        return {key: _swapped(item, account_ids) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_swapped(item, account_ids) for item in value]
    if isinstance(value, str) and value in account_ids:
        return "someone-else" if value != "someone-else" else "another"
    return value


def _doubled(payload: Mapping[str, object]) -> bytes:
    """Return the answer with its first key twice: first with 0, then as it is."""
    body = encoded(payload)
    key = encoded(next(iter(payload), "code"))
    return b"{" + key + b":0," + body[1:]
