"""Answers: what is known of a call, from what the transport saw and what the vendor said."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from reconciler.conversation import Answer, Provider, Request, Result, Verdict, Why
from reconciler.redaction import Redactor
from reconciler.values import loads

SEALED: Final = "(sealed)"
"""What stands in an answer where the vendor wrote a secret."""

LARGEST: Final = 4 * 1024 * 1024
_DEEPEST: Final = 32
Hide: TypeAlias = Callable[[str], str]

_KEYS: Final = ("token", "usersig", "checksum", "secret", "password")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the transport saw of one attempt.

    sent: bytes of it may have left. status: the HTTP status, 0 if no whole answer came. body: its
    bytes, decoded. error: the kind of failure, as a class name. local: it failed before it came
    to the network, and would again. date, retry_after: the headers of these names.
    """

    sent: bool
    status: int = 0
    body: bytes = b""
    error: str = ""
    local: bool = False
    date: str = ""
    retry_after: str = ""


INTERRUPTED: Final = Answer(Verdict(Result.NOT_SENT, "interrupted", "the run was interrupted"))


def judge(provider: Provider, request: Request, facts: Facts, secrets: Collection[str]) -> Answer:
    """Return the answer to an attempt, with its outcome class.

    Not sent is only what never reached a socket. Confirmed or rejected is only what the provider
    reads in a well-formed envelope, and HTTP 429. All else is ambiguous: the kind of exception
    does not tell whether the vendor carried the call out. `secrets` are texts that the answer
    must not repeat to anyone.
    """
    if not facts.sent:
        code = "encoding" if facts.local else "unreachable"
        return _unknown(Result.NOT_SENT, code, request, facts.error)
    if facts.error:
        code = "timeout" if "Timeout" in facts.error else "no-answer"
        return _unknown(Result.AMBIGUOUS, code, request, facts.error)
    if facts.status == 429:
        return Answer(Verdict(Result.REJECTED, "429", "too many requests", Why.THROTTLED))
    if not (200 <= facts.status < 300 or 400 <= facts.status < 500):
        return _unknown(Result.AMBIGUOUS, f"http-{facts.status}", request, f"HTTP {facts.status}")
    try:
        hide = _hiding(secrets)
        body = _parse(facts.body, hide)
        verdict = provider.verdict(request, facts.status, body)
    except Exception as failure:  # an unforeseen answer must not lose the call
        what = f"HTTP {facts.status} that cannot be read ({type(failure).__name__})"
        return _unknown(Result.AMBIGUOUS, "unreadable", request, what)
    message = hide(verdict.message)
    if verdict.result is not Result.CONFIRMED:
        # A refusal may quote the request as a log would write it, say with the query encoded.
        thorough = _hiding_all(secrets)
        body, message = _sealed("", body, thorough, 1), thorough(message)
    if message != verdict.message:
        verdict = Verdict(verdict.result, verdict.code, message, verdict.why)
    return Answer(verdict, body)


def token_at(body: bytes, keys: Sequence[str]) -> str:
    """Return the token in a body that `judge` has read, before anything is sealed; else empty."""
    found: Any = loads(body.decode("utf-8"))
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def _unknown(result: Result, code: str, request: Request, what: str) -> Answer:
    return Answer(Verdict(result, code, f"{request.method} {request.path}: {what}"))


def _parse(data: bytes, hide: Hide) -> Mapping[str, Any]:
    """Decode an answer strictly and seal what is secret in it. Raises ValueError."""
    body = loads(data.decode("utf-8"))
    if not isinstance(body, dict):
        raise ValueError("the answer is no object")
    return {hide(key): _sealed(key, value, hide, 2) for key, value in body.items()}


def _sealed(key: str, value: object, hide: Hide, depth: int) -> Any:
    """Return a value of an answer: bounded in depth, with real numbers and without secrets."""
    if depth > _DEEPEST and isinstance(value, dict | list):
        raise ValueError("nested too deeply")
    if key and value and key.lower().replace("_", "").endswith(_KEYS):
        return SEALED
    match value:
        case str():
            return hide(value)
        case dict():
            return {hide(k): _sealed(k, v, hide, depth + 1) for k, v in value.items()}
        case list():
            return [_sealed("", v, hide, depth + 1) for v in value]
        case float() if not math.isfinite(value):
            raise ValueError("a number is too large")
    return value


def _hiding(secrets: Collection[str]) -> Hide:
    """Return what takes secrets out of a text, and half characters that nobody could write."""

    def hide(text: str) -> str:
        for secret in secrets:
            if secret in text:
                text = text.replace(secret, SEALED)
        return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")

    return hide


def _hiding_all(secrets: Collection[str]) -> Hide:
    """Return the same for secrets in every shape they can take; too slow for every answer."""
    redactor = Redactor()
    for secret in secrets:
        redactor.add(secret)
    return redactor.redact
