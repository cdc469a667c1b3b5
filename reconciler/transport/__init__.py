"""Transport: drives a provider's conversations against the vendor: pace, sign, send, judge, repeat.

The only room that knows a network. Importing it is cheap: HTTP and TLS are loaded with the first
request (`wire`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import closing
from typing import Final, Protocol, Self, TypeAlias, TypeVar

from reconciler.conversation import (
    Answer,
    Call,
    Credentials,
    Minted,
    Provider,
    Request,
    Result,
    Signed,
    Why,
)
from reconciler.diagnostics import error
from reconciler.errors import ReconcilerError, VendorError
from reconciler.events import Throttled
from reconciler.redaction import Redactor
from reconciler.transport.answers import INTERRUPTED, SEALED, Facts, judge, token_at
from reconciler.transport.clock import Clock
from reconciler.transport.encode import encode, headers, target
from reconciler.transport.hints import pause, prefix, skew
from reconciler.transport.pacing import Pacer
from reconciler.values import Reference
from reconciler.workspace import App

__all__ = ["SEALED", "Clock", "Line", "Transport", "app_identity"]

T = TypeVar("T")
log = logging.getLogger(__name__)

_REAL: Final = Clock()
_SHARE: Final = 0.8
_RATE: Final = 100.0
_TRIES: Final = 5
_PAUSES: Final = 60
_FREE_RETRIES: Final = 20
_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 30.0
_SLICE: Final = 0.1
_GRACE: Final = 5.0
_SECRET: Final = 6
_SIGNATURE: Final = 16


def app_identity(provider: Provider, app: App, resolve: Callable[[Reference], str]) -> str:
    """Return the identity of the vendor app behind an entry of `providers`; it is no secret."""
    return provider.app(_resolved(app, resolve))


class Line(Protocol):
    """What carries requests to one vendor app, and its answers back."""

    def exchange(
        self,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        content: bytes,
        *,
        mutates: bool,
    ) -> Facts:
        """Send one request and read its answer; whatever goes wrong is told in the facts."""
        ...

    def hurry(self, seconds: float) -> None:
        """End reads now, and what mutates in so many seconds at the latest, answered or not."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


Connect: TypeAlias = Callable[[App, str, Clock, float, Redactor], Line]
"""Makes the line to an app: by way of a proxy or none, with a deadline in seconds for each call."""


def connected(app: App, proxy: str, clock: Clock, limit: float, redactor: Redactor) -> Line:
    """Return a line over HTTP, whose libraries are loaded here."""
    from reconciler.transport.wire import Wire

    return Wire(app, proxy, clock, limit, redactor)


class Transport:
    """The way to one vendor app, for as many threads as `app.concurrency` says.

    `resolve` turns references into secrets: those of the credentials, once, at the first request,
    and those in bodies, unless `resolve_token` is given for these. `deliver` takes a token that
    the vendor minted to its sink. `read_only` refuses every request that mutates. `report` hears
    of pauses, on whichever thread meets one. `deadline` is seconds for one whole exchange.
    `redactor` cleans what the HTTP libraries log. `pacers` is shared by transports that may be to
    the same app: it is filled by app identity, and the app's rate is then theirs together, as the
    first of them has it. `connect` makes the line that carries the requests.

    Raises ConfigError for an endpoint, proxy or ca_file that cannot be used; SecretError comes
    out of `run` as it is.
    """

    def __init__(
        self,
        provider: Provider,
        app: App,
        resolve: Callable[[Reference], str],
        *,
        clock: Clock = _REAL,
        read_only: bool = False,
        report: Callable[[Throttled], None] | None = None,
        resolve_token: Callable[[Reference], str] | None = None,
        deliver: Callable[[Reference, str], None] | None = None,
        check: Callable[[], None] = lambda: None,
        deadline: float = 15.0,
        redactor: Redactor | None = None,
        pacers: MutableMapping[str, Pacer] | None = None,
        connect: Connect = connected,
    ) -> None:
        self._provider = provider
        self._app = app
        self._resolve = resolve
        self._reveal = resolve_token or resolve
        self._deliver = deliver
        self._clock = clock
        self._read_only = read_only
        self._report = report
        self._check = check
        self._deadline = deadline
        self._redactor = redactor or Redactor()
        self._connect = connect
        self._prefix = prefix(app)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._opened: tuple[Line, Credentials, tuple[str, ...]] | None = None
        self._pacer = Pacer(self._rate, clock, self._stopped.is_set)
        self._pacers = pacers
        self._requests = self._retries = 0
        self._date = ""
        self._skew = 0.0

    def __repr__(self) -> str:
        return f"Transport({self._app.name})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def skew(self) -> float:
        """The most seconds that the vendor's clock was seen apart from ours."""
        return self._skew

    @property
    def pacer(self) -> Pacer:
        """What holds its calls below the app's rate."""
        return self._pacer

    def run(self, call: Call[T]) -> T:
        """Drive a conversation to its end and return its result.

        Repeats only what cannot have run, what the vendor refused for the moment, and reads.
        Whether a mutating request that is ambiguous ran is for the conversation to say.
        """
        answer: Answer | None = None
        with closing(call):
            while True:
                try:
                    request = next(call) if answer is None else call.send(answer)
                except StopIteration as end:
                    result: T = end.value
                    return result
                answer = self._ask(request)

    def stop(self) -> None:
        """End every wait and every read at once and send nothing more.

        Mutating requests in flight have a few seconds to be answered; then they are ambiguous.
        """
        self._stopped.set()
        if opened := self._opened:
            opened[0].hurry(_GRACE)

    def close(self) -> None:
        """Close the connections; a transport that is used again opens new ones."""
        with self._opening:
            if self._opened:
                self._opened[0].close()
            self._opened = None

    def _ask(self, request: Request) -> Answer:
        """Return the vendor's answer to one request, after as many attempts as are allowed."""
        if self._read_only and request.mutates:
            raise VendorError(
                error(
                    "read-only",
                    f"{request.method} {request.path} would change the vendor, and this "
                    "command only reads.",
                    hint="This is a defect of the program; nothing was sent.",
                )
            )
        tries = pauses = 0
        with self._lock:
            self._requests += 1
        while True:
            answer, facts = self._attempt(request)
            verdict = answer.verdict
            if verdict.result is Result.REJECTED and verdict.why is Why.THROTTLED:
                self._throttle(request.api, facts)
                pauses += 1
                if pauses >= _PAUSES:
                    return answer
                continue
            if facts.local or not _may_repeat(request, answer):
                return answer
            tries += 1
            if tries >= _TRIES or not self._grant_retry():
                return answer
            reach = min(_LONGEST_BACKOFF, _BACKOFF * 2 ** (tries - 1))
            if not self._rest(self._clock.random() * reach):
                return INTERRUPTED

    def _attempt(self, request: Request) -> tuple[Answer, Facts]:
        """Pace, sign and send a request once."""
        wire, credentials, known = self._open()
        revealed: list[str] = []

        def reveal(ref: Reference) -> str:
            revealed.append(value := self._reveal(ref))
            return value

        try:
            content = encode(request, reveal)
        except (TypeError, ValueError, RecursionError) as failure:
            return self._unsendable(request, failure)
        if (slot := self._pacer.wait(request.api)) is None:
            return INTERRUPTED, Facts(False, local=True)
        if request.mutates:
            # Only now: the lock may have been lost while the call waited for its turn.
            self._check()
        before = self._clock.now()
        try:
            signed = self._provider.sign(request, credentials, before, self._clock.nonce())
            way, head = target(self._prefix, request, signed), headers(request, signed)
        except Exception as failure:  # it may carry what it was signing with: only its kind is kept
            slot.answered(self._clock.monotonic())
            return self._unsendable(request, failure)
        secrets = {*known, *self._secrets(request, signed, revealed)}
        try:
            facts = wire.exchange(request.method, way, head, content, mutates=request.mutates)
            slot.answered(self._clock.monotonic())
            self._compare_clocks(facts.date, before)
            answer = judge(self._provider, request, facts, secrets)
        except BaseException:  # its text may hold what was at hand, as a defect's often does
            for value in secrets:
                self._redactor.add(value)
            raise
        if request.minted and answer.verdict.result is Result.CONFIRMED:
            undelivered = self._delivered(request.minted, facts)
            answer = Answer(answer.verdict, answer.data, undelivered)
        log.debug(
            "%s: %s %s: %s %s",
            self._app.name,
            request.method,
            request.path,
            answer.verdict.result,
            answer.verdict.code,
        )
        return answer, facts

    def _delivered(self, minted: Minted, facts: Facts) -> str:
        """Take the token of an answer to its sink; return why it is not there, or nothing."""
        value = token_at(facts.body, minted.at)
        if not value or self._deliver is None:
            return "the answer holds no token"
        self._redactor.add(value)
        try:
            self._deliver(minted.sink.reference, value)
        except ReconcilerError as problem:
            return str(problem)
        return ""

    def _secrets(self, request: Request, signed: Signed, revealed: list[str]) -> Iterator[str]:
        """Yield what this attempt carried that its answer must not repeat.

        Short ones are left: a time or a number of the signature may well be data of the answer.
        """
        public = {*request.account_ids, *self._app.credentials.values()}
        for least, values in (
            (_SECRET, revealed),
            (_SIGNATURE, signed.headers.values()),
            (_SIGNATURE, signed.query.values()),
        ):
            yield from (v for v in values if len(v) >= least and v not in public)

    def _unsendable(self, request: Request, failure: Exception) -> tuple[Answer, Facts]:
        facts = Facts(False, error=type(failure).__name__, local=True)
        return judge(self._provider, request, facts, ()), facts

    def _open(self) -> tuple[Line, Credentials, tuple[str, ...]]:
        """Return connections, credentials and what is secret among these; made once."""
        if self._opened is None:
            with self._opening:
                if self._opened is None:
                    self._opened = self._made()
        return self._opened

    def _made(self) -> tuple[Line, Credentials, tuple[str, ...]]:
        app = self._app
        values = _resolved(app, self._resolve)
        proxy = self._resolve(app.proxy) if app.proxy else ""
        known = [values[k] for k, v in app.credentials.items() if isinstance(v, Reference)]
        for value in (*known, proxy):
            self._redactor.add(value)
        wire = self._connect(app, proxy, self._clock, self._deadline, self._redactor)
        hidden = tuple(value for value in known if len(value) >= _SECRET)
        if self._pacers is not None:
            self._pacer = self._pacers.setdefault(self._provider.app(values), self._pacer)
        return wire, Credentials(values), hidden

    def _rate(self, api: str) -> float:
        rates = self._provider.capabilities.rates
        return self._app.rate or _SHARE * (rates.get(api) or rates.get("") or _RATE)

    def _throttle(self, api: str, facts: Facts) -> None:
        """Pause one API, and say so unless it is paused already."""
        asked = pause(facts.retry_after, self._clock.now()) if facts.retry_after else None
        seconds = self._provider.capabilities.penalty if asked is None else asked
        if self._pacer.penalize(api, seconds) and self._report:
            self._report(Throttled(self._app.name, api, seconds))

    def _grant_retry(self) -> bool:
        """Spend one of the retries of this run: 20, and one for every ten requests."""
        with self._lock:
            if self._retries >= _FREE_RETRIES + self._requests // 10:
                return False
            self._retries += 1
            return True

    def _rest(self, seconds: float) -> bool:
        """Sleep before a retry; False as soon as the run is stopped."""
        ends = self._clock.monotonic() + seconds
        while not self._stopped.is_set():
            if (left := ends - self._clock.monotonic()) <= 0:
                return True
            self._clock.sleep(min(left, _SLICE))
        return False

    def _compare_clocks(self, date: str, before: float) -> None:
        if date and date != self._date:
            self._date = date
            apart = skew(date, before, self._clock.now())
            with self._lock:
                self._skew = max(self._skew, apart)


def _may_repeat(request: Request, answer: Answer) -> bool:
    match answer.verdict.result:
        case Result.NOT_SENT:
            return True
        case Result.REJECTED:
            return answer.verdict.why is Why.RETRY
        case Result.AMBIGUOUS:
            return not request.mutates
        case Result.CONFIRMED:
            return False


def _resolved(app: App, resolve: Callable[[Reference], str]) -> dict[str, str]:
    return {
        key: resolve(value) if isinstance(value, Reference) else value
        for key, value in app.credentials.items()
    }
