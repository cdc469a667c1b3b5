"""Secrecy: no secret comes out of the transport, whatever the vendor or the network does."""

import itertools
import logging
import traceback
from dataclasses import replace

import pytest
from transport_faults import (
    APP_SECRET,
    CREATE,
    READ,
    TOKEN,
    Exchange,
    FakeClock,
    Server,
    Vendor,
    app,
    ask,
    http,
    one,
    resolve,
)

from reconciler.conversation import Request, Signed
from reconciler.transport import SEALED, Transport

GOOD = http('{"code":200,"msg":"success","data":{}}')


def test_tokens_in_answers_are_sealed():
    """Whatever a vendor writes under a token's name, at any depth, no conversation sees it."""
    body = (
        '{"code":200,"data":{"token":"t1","list":[{"access_token":"t2"}],"UserSig":"t3",'
        '"imToken":{"x":"t4"},"name":"n","tokens":[],"token_version":3}}'
    )
    with Server(http(body)) as server:
        data = one(server).data["data"]
    assert data == {
        "token": SEALED,
        "list": [{"access_token": SEALED}],
        "UserSig": SEALED,
        "imToken": SEALED,
        "name": "n",
        "tokens": [],
        "token_version": 3,
    }


def test_what_is_no_secret_is_not_sealed():
    """The account's own id, a time or a short number of the signature are data."""

    class Plain(Vendor):
        def sign(self, request, credentials, now, nonce):
            return Signed(query={"identifier": "administrator-of-app", "sdkappid": "1400000000"})

    there = {"credentials": {"admin": "administrator-of-app"}}
    body = '{"code":200,"id":"administrator-of-app","x":"1400000000"}'
    with (
        Server(http(body)) as server,
        Transport(Plain(), replace(app(server.endpoint), **there), resolve) as transport,
    ):
        assert transport.run(ask(READ))[0].data["id"] == "administrator-of-app"


def echo(exchange: Exchange) -> object:
    """Answer with everything that was sent, as a careless gateway would."""
    secrets = " ".join(
        [
            exchange.header("CheckSum"),
            exchange.header("AppKey"),
            exchange.head.split(" ")[1].split("usersig=")[-1].replace("%2A", "*"),
            TOKEN,
            APP_SECRET,
        ]
    )
    return http('{"code":414,"msg":"bad: %s","data":{"%s":["%s"]}}' % ((secrets,) * 3))(exchange)


def hang_up(exchange: Exchange) -> bool:
    return False


SWEEP = {
    "ok": GOOD,
    "rejected": echo,
    "html": http("<html>"),
    "cut": hang_up,
    "500": http("oops", "500 Oops"),
    "redirect": http("", "302 Found", Location="/x"),
    "busy": http("", "429 Too Many Requests"),
}


@pytest.mark.parametrize("name", [*SWEEP, "refused", "unsendable"])
def test_no_secret_leaves(name, caplog):
    """After every outcome, no secret is in a log, an answer, a message, a repr or a traceback."""
    caplog.set_level(logging.DEBUG)
    for logger in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
        caplog.set_level(logging.DEBUG, logger=logger)
    vendor, fake = Vendor(), FakeClock()
    with Server(SWEEP.get(name, GOOD)) as server:
        there = app(server.endpoint)
        if name == "refused":
            there = app("http://127.0.0.1:9")
        request = replace(CREATE, path="/ü") if name == "unsendable" else CREATE
        with Transport(vendor, there, resolve, clock=fake.clock) as transport:
            caplog.set_level(logging.DEBUG, logger="httpx")
            try:
                answer = transport.run(ask(request))[0]
                broken = transport.run(raising(request))
            except ZeroDivisionError as error:
                broken = "".join(traceback.format_exception(error))
            shown = [
                repr(answer),
                repr(transport),
                broken,
                caplog.text,
                *(repr(record.__dict__) for record in caplog.records),
            ]
    signed = [v for s in vendor.signed for v in (s.headers.get("CheckSum"), s.query["usersig"])]
    for secret, text in itertools.product([APP_SECRET, TOKEN, *signed], shown):
        assert secret not in text


def raising(request: Request):
    """Return a conversation that breaks with the answer in hand."""
    answer = yield request
    raise ZeroDivisionError(answer)


def test_httpx_writes_no_log(caplog):
    """The HTTP libraries are silent, also where the user asked for every detail."""
    caplog.set_level(logging.DEBUG)
    with Server(GOOD) as server, Transport(Vendor(), app(server.endpoint), resolve) as transport:
        transport.run(ask(CREATE))
        for name in ("httpx", "httpcore.http11"):
            caplog.set_level(logging.DEBUG, logger=name)
        transport.run(ask(CREATE))
        logging.getLogger("httpx").warning("GET %s", f"https://h/?usersig={APP_SECRET}")
        logging.getLogger("httpx").warning("secret %s", APP_SECRET)
    ours = [r for r in caplog.records if r.name.startswith("http")]
    assert [r.getMessage() for r in ours] == ["GET https://h/?…", "secret ***"]
    assert any(r.name == "reconciler.transport" for r in caplog.records)
