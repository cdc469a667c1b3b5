"""Transport: conversations are driven, retried, throttled, stopped and kept secret."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from email.utils import formatdate
from urllib.parse import parse_qsl

import pytest
from transport_faults import (
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

from reconciler import __version__
from reconciler.conversation import ReadFailed, Result, Why
from reconciler.errors import SecretError, VendorError
from reconciler.events import Throttled
from reconciler.transport import Clock, Transport, app_identity
from reconciler.transport.hints import pause, skew
from reconciler.values import Reference, loads

GOOD = http('{"code":200,"msg":"success","data":{}}')
BUSY = http('{"code":416,"msg":"too frequent"}')
LATER = http('{"code":503,"msg":"server busy"}')


def transport_to(server, fake, **more):
    """Return a transport on a fake clock."""
    return Transport(
        more.pop("vendor", None) or Vendor(),
        app(server.endpoint),
        resolve,
        clock=fake.clock,
        **more,
    )


def test_a_conversation_is_driven_to_its_result():
    """Each request is answered in turn, and what the generator returns is the result."""

    def call():
        first = yield CREATE
        second = yield READ
        return first.verdict.code, second.data

    with (
        Server(http('{"code":405}'), http('{"code":200,"data":{"a":1}}')) as server,
        transport_to(server, FakeClock()) as transport,
    ):
        assert transport.run(call()) == ("405", {"code": 200, "data": {"a": 1}})


def test_a_conversation_without_a_request_needs_no_network():
    """A generator that returns at once is run without credentials and without a connection."""

    def call():
        return "nothing to do"
        yield

    with Transport(Vendor(), app("https://127.0.0.1:9"), lambda ref: 1 / 0) as transport:
        assert transport.run(call()) == "nothing to do"


def test_an_error_of_the_conversation_comes_out():
    """ReadFailed, as anything a conversation raises, is the caller's."""

    def call():
        answer = yield replace(CREATE, mutates=False)
        raise ReadFailed(answer.verdict)

    with (
        Server(http('{"code":404,"msg":"no"}')) as server,
        transport_to(server, FakeClock()) as transport,
        pytest.raises(ReadFailed),
    ):
        transport.run(call())


def test_the_request_on_the_wire():
    """Path behind the endpoint's, query and signature, headers, and the body with its secret."""
    with Server(GOOD) as server:
        server.endpoint += "/nimserver/"
        one(server)
    sent = server.seen[0]
    way, _, query = sent.head.split(" ")[1].partition("?")
    assert sent.head.startswith("POST ")
    assert way == "/nimserver/im/v2/accounts"
    assert dict(parse_qsl(query)) == {"q": "1", "usersig": f"eJw*{sent.header('CheckSum')}"}
    assert loads(sent.body) == {"account_id": "u1", "token": TOKEN}
    assert sent.header("User-Agent") == f"reconciler/{__version__}"
    assert sent.header("Content-Type") == "application/json;charset=utf-8"
    assert sent.header("Host") == f"127.0.0.1:{server.port}"
    assert sent.header("CurTime") == "1000000"


def test_references_are_revealed_at_any_depth():
    """A reference in a list in a mapping is its secret on the wire, and text beside it stays."""
    body = {"a": ({"b": [Reference("env:IM_TOKEN"), "客服", 1, None, True]},)}
    with Server(GOOD) as server:
        one(server, replace(CREATE, body=body))
    assert loads(server.seen[0].body) == {"a": [{"b": [TOKEN, "客服", 1, None, True]}]}


def test_a_form_writes_values_as_the_first_generation_wants_them():
    """Truth values are `true` and `false`, lists are JSON text, texts are as they are."""
    body = {
        "accid": "a b&c=客",
        "needkick": True,
        "accids": ["a", "b"],
        "n": 3,
        "token": Reference("env:IM_TOKEN"),
        "ex": '{"a":1}',
    }
    with Server(GOOD) as server:
        one(server, replace(CREATE, body=body, encoding="form"))
    sent = server.seen[0]
    assert sent.header("Content-Type") == "application/x-www-form-urlencoded;charset=utf-8"
    assert dict(parse_qsl(sent.body.decode())) == {
        "accid": "a b&c=客",
        "needkick": "true",
        "accids": '["a","b"]',
        "n": "3",
        "token": TOKEN,
        "ex": '{"a":1}',
    }


def test_a_get_has_no_body():
    """A request without a body says no type and no length."""
    with Server(GOOD) as server:
        one(server, READ)
    assert server.seen[0].header("Content-Type") == ""
    assert server.seen[0].header("Content-Length") == ""


@pytest.mark.parametrize(
    "request_",
    [
        replace(CREATE, body={"x": float("nan")}),
        replace(CREATE, body={"x": object()}),
        replace(CREATE, body={"x": "\ud800"}),
        replace(CREATE, path="/客"),
        replace(CREATE, path="/a b"),
        replace(CREATE, body={"x": None}, encoding="form"),
    ],
)
def test_what_cannot_be_written_is_not_sent(request_):
    """A request that cannot be encoded is not sent; one that is no use to repeat is not."""
    with Server(GOOD) as server:
        assert one(server, request_).verdict.result is Result.NOT_SENT
    assert not server.seen


def test_every_attempt_is_signed_anew():
    """A repeated request has a nonce and a time of its own."""
    fake = FakeClock()
    with Server(LATER, LATER, GOOD) as server, transport_to(server, fake) as transport:
        transport.run(ask(CREATE))
    assert len({sent.header("Nonce") for sent in server.seen}) == 3
    assert len({sent.header("CheckSum") for sent in server.seen}) == 3


def test_credentials_are_resolved_once_and_late():
    """Nothing is resolved before the first request, and then each reference once."""
    asked = []

    def counting(ref):
        asked.append(ref.text)
        return resolve(ref)

    with Server(GOOD) as server, Transport(Vendor(), app(server.endpoint), counting) as transport:
        assert asked == []
        transport.run(ask(READ, READ))
    assert asked == ["env:APP_KEY", "env:APP_SECRET"]


def test_a_secret_error_comes_out_as_it_is():
    """A reference that does not resolve ends the conversation, and nothing is sent."""
    failure = SecretError.of("secret-reference", "The secret env:APP_KEY is not set.")

    def failing(ref):
        raise failure

    with (
        Server(GOOD) as server,
        Transport(Vendor(), app(server.endpoint), failing) as transport,
        pytest.raises(SecretError) as caught,
    ):
        transport.run(ask(READ))
    assert caught.value is failure
    assert not server.seen


def test_tokens_have_a_resolver_of_their_own():
    """With `resolve_token`, references in bodies never reach the resolver of credentials."""

    def credentials_only(ref):
        assert ref.text.startswith("env:APP_")
        return resolve(ref)

    with (
        Server(GOOD) as server,
        Transport(
            Vendor(), app(server.endpoint), credentials_only, resolve_token=resolve
        ) as transport,
    ):
        transport.run(ask(CREATE))
    assert TOKEN.encode() in server.seen[0].body


def test_the_app_has_an_identity():
    """The identity comes from the resolved credentials."""
    assert app_identity(Vendor(), app("https://h"), resolve) == "vendor:key0123456789key"


def test_read_only_refuses_changes_before_anything_is_sent():
    """A transport for reading raises for a request that mutates, and reads."""
    with Server(GOOD) as server, transport_to(server, FakeClock(), read_only=True) as transport:
        with pytest.raises(VendorError, match="only reads"):
            transport.run(ask(CREATE))
        assert not server.seen
        assert transport.run(ask(READ))[0].verdict.result is Result.CONFIRMED


@pytest.mark.parametrize(
    ("answer", "result", "why"),
    [
        ('{"code":405,"msg":"exists"}', Result.REJECTED, Why.EXISTS),
        ('{"code":500,"msg":"internal"}', Result.AMBIGUOUS, Why.OTHER),
        ('{"code":414,"msg":"no"}', Result.REJECTED, Why.OTHER),
    ],
)
def test_a_change_with_an_answer_is_not_repeated(answer, result, why):
    """What the vendor said of a change is handed back: it is the provider's to judge."""
    with Server(http(answer)) as server:
        verdict = one(server).verdict
    assert (verdict.result, verdict.why) == (result, why)
    assert len(server.seen) == 1


def test_backoff_is_jittered_and_bounded():
    """Attempts are five; the waits between are chance times 0.5, 1, 2 and 4 seconds."""
    fake = FakeClock(chance=0.25)
    with Server(LATER) as server, transport_to(server, fake) as transport:
        verdict = transport.run(ask(CREATE))[0].verdict
    assert (verdict.result, verdict.why, len(server.seen)) == (Result.REJECTED, Why.RETRY, 5)
    assert sum(fake.slept) == pytest.approx(0.25 * 7.5, abs=0.01)


def test_retries_have_a_budget():
    """When everything fails, a run sends 20 repetitions and one for every ten requests."""
    fake = FakeClock()
    with Server(LATER) as server, transport_to(server, fake) as transport:
        transport.run(ask(*[CREATE] * 50))
    assert len(server.seen) == 50 + 20 + 5


def test_throttling_pauses_the_api_and_is_reported():
    """A throttled call waits the vendor's penalty and is sent again; it is said once."""
    fake, said = FakeClock(), []
    with (
        Server(BUSY, BUSY, GOOD) as server,
        transport_to(server, fake, report=said.append) as transport,
    ):
        began = fake.time
        assert transport.run(ask(CREATE))[0].verdict.result is Result.CONFIRMED
    assert fake.time - began == pytest.approx(20, abs=0.5)
    assert said == [Throttled("cn-prod", "create", 10.0)] * 2


def test_throttling_is_no_attempt_and_has_an_end():
    """Sixty refusals are waited out, more are handed back."""
    fake = FakeClock()
    with Server(*[BUSY] * 59, GOOD) as server, transport_to(server, fake) as transport:
        assert transport.run(ask(CREATE))[0].verdict.result is Result.CONFIRMED
    with Server(BUSY) as server, transport_to(server, fake) as transport:
        assert transport.run(ask(CREATE))[0].verdict.why is Why.THROTTLED
    assert len(server.seen) == 60


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 1),
        ("99999999999", 60),
        ("-5", 10),
        ("soon", 10),
        ("", 10),
        (formatdate(1_000_030, usegmt=True), 30),
        (formatdate(5_000_000, usegmt=True), 60),
    ],
)
def test_retry_after_is_followed_within_a_minute(header, seconds):
    """The header is taken as seconds or as a date, clamped to 1 to 60; nonsense is ignored."""
    fake, said = FakeClock(), []
    busy = http("", "429 Too Many Requests", Retry_After=header)
    with Server(busy, GOOD) as server, transport_to(server, fake, report=said.append) as transport:
        transport.run(ask(CREATE))
    assert said[0].seconds == pytest.approx(seconds, abs=0.1)


def test_hints_about_time():
    """Skew is what two clocks are surely apart; no date says nothing."""
    date = formatdate(1000, usegmt=True)
    assert skew(date, 1000.5, 1001) == 0
    assert skew(date, 1070, 1071) == 69
    assert skew(date, 900, 901) == 99
    assert skew("yesterday", 0, 1) == 0
    assert pause("", 0) is None


def test_skew_is_seen():
    """The largest distance between the vendor's clock and ours is kept."""
    fake = FakeClock()
    dates = [formatdate(fake.time + apart, usegmt=True) for apart in (0, 90, -30)]
    with (
        Server(*[http('{"code":200}', Date=date) for date in dates]) as server,
        transport_to(server, fake) as transport,
    ):
        transport.run(ask(READ, READ, READ))
        assert transport.skew == pytest.approx(90, abs=0.1)


@pytest.mark.parametrize(("rate", "expected"), [(None, 16), (10, 10)])
def test_the_pace_is_80_percent_of_the_documented_rate_or_the_users(rate, expected):
    """Without `rate`, 80 % of what the vendor documents for the API; `rate` replaces it."""
    fake = FakeClock()
    with (
        Server(GOOD) as server,
        Transport(
            Vendor({"create": 20.0, "": 5.0}),
            app(server.endpoint, rate=rate),
            resolve,
            clock=fake.clock,
        ) as transport,
    ):
        began = fake.time
        transport.run(ask(*[CREATE] * (expected * 3 + 1)))
        assert expected <= expected * 3 / (fake.time - began) * 1.05
        assert fake.time - began >= 2.99


def test_stop_ends_waits_and_spares_what_is_in_flight():
    """Stopping lets the request in flight end, and everything after it is not sent."""
    under_way, go = threading.Event(), threading.Event()

    def slow(exchange: Exchange) -> object:
        under_way.set()
        go.wait(5)
        return GOOD(exchange)

    with Server(slow) as server, Transport(Vendor(), app(server.endpoint), resolve) as transport:
        found = []
        thread = threading.Thread(target=lambda: found.extend(transport.run(ask(CREATE, READ))))
        thread.start()
        under_way.wait(5)
        transport.stop()
        go.set()
        thread.join(5)
    assert [a.verdict.result for a in found] == [Result.CONFIRMED, Result.NOT_SENT]
    assert found[1].verdict.code == "interrupted"
    assert len(server.seen) == 1


@pytest.mark.parametrize("answer", [LATER, BUSY])
def test_stop_ends_a_wait_for_a_retry(answer):
    """A backoff or a pause of the API ends at once, as not sent: the change did not run."""
    with (
        Server(answer) as server,
        Transport(
            Vendor(), app(server.endpoint), resolve, clock=Clock(random=lambda: 1.0)
        ) as transport,
    ):
        found = []
        thread = threading.Thread(target=lambda: found.extend(transport.run(ask(CREATE))))
        thread.start()
        while not server.seen:
            time.sleep(0.01)
        began = time.monotonic()
        transport.stop()
        thread.join(5)
    assert time.monotonic() - began < 3
    assert (found[0].verdict.result, found[0].verdict.code) == (Result.NOT_SENT, "interrupted")


def test_threads_share_connections():
    """As many connections as threads, and each is kept for what follows."""
    with (
        Server(GOOD) as server,
        Transport(Vendor(), app(server.endpoint, concurrency=8), resolve) as transport,
    ):
        threads = [
            threading.Thread(target=lambda: transport.run(ask(*[CREATE] * 20))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.seen) == 160
    assert server.connections <= 8


def test_importing_it_is_cheap():
    """Until the first request neither HTTP, TLS nor sockets are loaded, nor subprocess."""
    code = (
        "import sys, reconciler.transport; "
        "sys.exit(bool({'httpx', 'httpcore', 'ssl', 'subprocess'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
