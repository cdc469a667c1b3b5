"""Faults: what is known of a call after everything a network can do to it."""

import gzip
import socket
import time

import pytest
from transport_faults import (
    CREATE,
    READ,
    VALUES,
    Exchange,
    FakeClock,
    Server,
    Vendor,
    app,
    ask,
    certificate,
    http,
    one,
    reset,
    resolve,
)

from reconciler.conversation import Result, Verdict, Why
from reconciler.errors import ConfigError
from reconciler.transport import Clock, Transport
from reconciler.values import Reference

GOOD = b'{"code":200,"msg":"success","data":{}}'
FAST = Clock()


def raw(*pieces: bytes, pause: float = 0.0):
    """Return a behaviour: send these bytes, with pauses between, and close."""

    def behave(exchange: Exchange) -> bool:
        for piece in pieces:
            exchange.conn.sendall(piece)
            time.sleep(pause)
        return False

    return behave


def reset_after(exchange: Exchange) -> bool:
    reset(exchange.conn)
    return False


HEAD = b"HTTP/1.1 200 OK\r\n"
AMBIGUOUS = {
    "reset after the request": reset_after,
    "closed after the request": raw(),
    "half a body": raw(HEAD + b"Content-Length: 99\r\n\r\n" + GOOD),
    "half a chunked body": raw(HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"cod'),
    "HTML": http(b"<html>It works</html>", Content_Type="application/json"),
    "nothing": http(b""),
    "204": http(b"", "204 No Content"),
    "redirect": http(GOOD, "302 Found", Location="http://169.254.169.254/latest/meta-data"),
    "500": http(GOOD, "500 Internal Server Error"),
    "502": http(b"<html>Bad Gateway</html>", "502 Bad Gateway"),
    "503": http(GOOD, "503 Service Unavailable"),
    "403 as HTML": http(b"<html>Forbidden</html>", "403 Forbidden"),
    "garbage": raw(b"\x16\x03\x01\x02\x00\x01garbage\r\n\r\n"),
    "duplicate keys": http(b'{"code":500,"code":200}'),
    "NaN": http(b'{"code":200,"x":NaN}'),
    "an endless number": http(b'{"code":200,"x":1e999}'),
    "a huge integer": http(b'{"code":200,"x":' + b"9" * 5000 + b"}"),
    "deep": http(b'{"code":200,"x":' + b"[" * 40 + b"]" * 40 + b"}"),
    "very deep": http(b'{"code":200,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a list": http(b"[200]"),
    "a text": http(b'"200"'),
    "no UTF-8": http(b'{"code":200,"msg":"\xff\xfe"}'),
    "UTF-16": http('{"code":200}'.encode("utf-16")),
    "no code": http(b'{"msg":"success"}'),
    "5 MiB": http(b'{"code":200,"x":"' + b"a" * 5 * 1024 * 1024 + b'"}'),
    "gzip bomb": http(gzip.compress(b" " * 8 * 1024 * 1024), Content_Encoding="gzip"),
    "half a gzip": http(gzip.compress(GOOD * 9)[:-9], Content_Encoding="gzip"),
    "no gzip": http(GOOD, Content_Encoding="gzip"),
    "brotli": http(GOOD, Content_Encoding="br"),
    "huge headers": http(GOOD, X_Big="a" * 200_000),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_broken_answer_leaves_a_change_in_doubt(name):
    """After anything but a well-formed envelope nobody knows if a change ran: it is sent once."""
    with Server(AMBIGUOUS[name]) as server:
        verdict = one(server).verdict
    assert verdict.result is Result.AMBIGUOUS
    assert len(server.seen) == 1
    assert verdict.message.startswith("POST /im/v2/accounts: ")
    assert "127.0.0.1" not in verdict.message
    assert "q=1" not in verdict.message


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_read_is_repeated_after_a_broken_answer(name):
    """A request that changes nothing is asked again, whatever became of it."""
    with Server(AMBIGUOUS[name], http(GOOD)) as server:
        assert one(server, READ).verdict.result is Result.CONFIRMED
    assert len(server.seen) == 2


def test_a_reset_before_the_request_was_read_is_in_doubt():
    """A connection that was reset says nothing about what was read from it: not repeated."""
    with Server(rude=True) as server:
        assert one(server).verdict.result is Result.AMBIGUOUS
        assert server.connections == 1


def test_a_refused_connection_is_not_sent_and_repeated():
    """What never reached a socket was not sent; it is tried five times, then handed back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    fake = FakeClock()

    class Nowhere:
        endpoint = f"http://127.0.0.1:{port}"

    vendor = Vendor()
    verdict = one(Nowhere, clock=fake.clock, vendor=vendor).verdict
    assert verdict == Verdict(Result.NOT_SENT, "unreachable", "POST /im/v2/accounts: ConnectError")
    assert len(vendor.signed) == 5
    assert sum(fake.slept) == pytest.approx(0.25 + 0.5 + 1 + 2, abs=0.01)


def test_a_failed_tls_handshake_is_not_sent():
    """A server that ends the handshake has heard no request."""
    with Server(rude=True) as server:
        server.endpoint = server.endpoint.replace("http:", "https:")
        verdict = one(server).verdict
    assert (verdict.result, verdict.code) == (Result.NOT_SENT, "unreachable")


def test_tls_is_verified(tmp_path):
    """A certificate that no known authority signed ends the handshake: nothing was sent."""
    with Server(http(GOOD), context=certificate(tmp_path)) as server:
        assert one(server).verdict.result is Result.NOT_SENT
        assert not server.seen


def test_a_ca_file_adds_an_authority(tmp_path):
    """With `ca_file` a private authority is trusted as well."""
    with Server(http(GOOD), context=certificate(tmp_path)) as server:
        trusting = {"ca_file": str(tmp_path / "cert.pem")}
        assert one(server, app=trusting).verdict.result is Result.CONFIRMED


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        ("none", Result.CONFIRMED),
        ("before TLS", Result.NOT_SENT),
        ("after", Result.AMBIGUOUS),
    ],
)
def test_a_cut_tunnel_is_judged_by_what_went_through_it(tmp_path, fault, result):
    """Asking a proxy for the way is not sending; what is sent through the tunnel is."""
    context = certificate(tmp_path)
    heard = []

    def tunnel(exchange: Exchange) -> bool:
        exchange.conn.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if fault == "before TLS":
            return False
        with context.wrap_socket(exchange.conn, server_side=True) as inner:
            heard.append(inner.recv(65536))
            while b"}" not in heard[-1]:
                heard.append(inner.recv(65536))
            if fault == "none":
                http(GOOD)(Exchange(inner, "", b""))
        return False

    with Server(tunnel) as proxy:
        values = VALUES | {"env:PROXY": proxy.endpoint}
        there = app(
            "https://127.0.0.1:9", proxy=Reference("env:PROXY"), ca_file=str(tmp_path / "cert.pem")
        )
        with Transport(
            Vendor(), there, lambda ref: values[ref.text], clock=FakeClock().clock
        ) as transport:
            assert transport.run(ask(CREATE))[0].verdict.result is result
    assert bool(heard) is (fault != "before TLS")
    assert "CheckSum" not in proxy.seen[0].head


@pytest.mark.parametrize(
    ("pieces", "name"),
    [
        ([HEAD, b"X-", *[b"a"] * 400], "slow head"),
        ([HEAD + b"Content-Length: 99\r\n\r\n", *[b" "] * 400], "slow body"),
        ([b""] * 400, "silence"),
    ],
)
def test_a_slow_drip_ends_at_the_deadline(pieces, name):
    """The deadline is for the whole exchange, however alive the connection looks."""
    with Server(raw(*pieces, pause=0.02)) as server:
        began = time.monotonic()
        verdict = one(server, clock=FAST, deadline=0.2).verdict
        took = time.monotonic() - began
    assert (verdict.result, verdict.code) == (Result.AMBIGUOUS, "timeout"), name
    assert took < 3


def test_nothing_leaves_after_the_deadline():
    """An exchange whose time is over before the first byte is not sent."""
    with Server(http(GOOD)) as server:
        assert one(server, deadline=-1.0).verdict.result is Result.NOT_SENT
        assert not server.seen


def test_a_stale_connection_is_not_used_again():
    """A kept connection that the server closed meanwhile costs no doubt: a new one is opened."""
    closed = []

    def answer_then_close(exchange: Exchange) -> bool:
        http(GOOD)(exchange)
        closed.append(exchange.conn)
        return False

    with (
        Server(answer_then_close) as server,
        Transport(Vendor(), app(server.endpoint), resolve) as transport,
    ):
        for _ in range(3):
            assert transport.run(ask(CREATE))[0].verdict.result is Result.CONFIRMED
            time.sleep(0.05)
        assert server.connections == 3


def test_uninvited_gzip_is_read():
    """A gateway that compresses although nobody asked does not leave changes in doubt."""
    with Server(http(gzip.compress(GOOD), Content_Encoding="gzip")) as server:
        assert one(server).verdict.result is Result.CONFIRMED
    assert server.seen[0].header("Accept-Encoding") == "identity"


def test_the_content_type_is_not_trusted():
    """What is well-formed JSON is read, however it is labelled."""
    with Server(http(GOOD, Content_Type="text/html")) as server:
        assert one(server).verdict.result is Result.CONFIRMED


def test_half_characters_are_made_writable():
    """A nickname with a lone surrogate does not break whoever writes it down later."""
    with Server(http(b'{"code":200,"data":{"name":"a\\ud800b"}}')) as server:
        assert one(server).data["data"] == {"name": "a?b"}


def test_no_redirect_is_followed():
    """A 3xx is an outcome; its target never hears of it."""
    with Server(http(GOOD)) as other:
        away = http(b"", "307 Temporary Redirect", Location=f"{other.endpoint}/im/v2/accounts")
        with Server(away) as server:
            assert one(server).verdict.code == "http-307"
        assert not other.seen


def test_no_cookie_is_kept():
    """A cookie that a vendor sets is not sent back."""
    with (
        Server(http(GOOD, Set_Cookie="a=b; Path=/")) as server,
        Transport(Vendor(), app(server.endpoint), resolve) as transport,
    ):
        transport.run(ask(CREATE, CREATE))
        assert server.seen[1].header("cookie") == ""


def test_the_environment_names_no_proxy(monkeypatch):
    """Proxy settings of the environment are not used."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with Server(http(GOOD)) as server:
        assert one(server).verdict.result is Result.CONFIRMED


def test_a_proxy_is_used_where_the_app_says_so():
    """With `proxy` the request goes to that address, and asks for the vendor's."""
    with Server(http(GOOD)) as proxy:
        values = VALUES | {"env:PROXY": f"http://user:pw-of-proxy@127.0.0.1:{proxy.port}"}
        there = app("http://vendor.example", allow_http=True, proxy=Reference("env:PROXY"))
        with Transport(Vendor(), there, lambda ref: values[ref.text]) as transport:
            assert transport.run(ask(READ))[0].verdict.result is Result.CONFIRMED
        assert proxy.seen[0].head.startswith("GET http://vendor.example/im/v2/accounts/u1?")
        assert proxy.seen[0].header("Proxy-Authorization").startswith("Basic ")


def test_a_proxy_that_refuses_the_tunnel_means_not_sent():
    """A CONNECT that the proxy denies never carried the request."""
    with Server(http(b"no", "403 Forbidden")) as proxy:
        values = VALUES | {"env:PROXY": proxy.endpoint}
        there = app("https://vendor.example", proxy=Reference("env:PROXY"))
        fake = FakeClock()
        with Transport(
            Vendor(), there, lambda ref: values[ref.text], clock=fake.clock
        ) as transport:
            verdict = transport.run(ask(CREATE))[0].verdict
    assert verdict.result is Result.NOT_SENT
    assert verdict.message == "POST /im/v2/accounts: ProxyError"


@pytest.mark.parametrize("proxy", ["pw-of-proxy", "socks5://u:pw-of-proxy@h:1", "http://"])
def test_an_unusable_proxy_is_said_without_its_password(proxy):
    """The finding names the app and nothing of the address."""
    values = VALUES | {"env:PROXY": proxy}
    there = app("https://vendor.example", proxy=Reference("env:PROXY"))
    with pytest.raises(ConfigError) as caught:
        Transport(Vendor(), there, lambda ref: values[ref.text]).run(ask(READ))
    assert "pw-of-proxy" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://open.yunxinapi.com",
        "ftp://h",
        "open.yunxinapi.com",
        "https://",
        "https://u:p@h",
        "https://h?x=1",
        "https://h#x",
        "https://h:99999",
        "http://127.0.0.1.evil.example",
        "",
    ],
)
def test_an_unsafe_endpoint_is_refused(endpoint):
    """Plain http is for loopback only, and an endpoint is scheme, host, port and path."""
    with pytest.raises(ConfigError, match="cn-prod"):
        Transport(Vendor(), app(endpoint), resolve)


@pytest.mark.parametrize(
    ("endpoint", "settings"),
    [
        ("http://localhost:1", {}),
        ("http://[::1]:1/nimserver", {}),
        ("http://127.3.2.1", {}),
        ("http://im.internal", {"allow_http": True}),
        ("https://open.yunxinapi.com", {}),
    ],
)
def test_a_fitting_endpoint_is_taken(endpoint, settings):
    """https, loopback, and what the user allowed."""
    Transport(Vendor(), app(endpoint, **settings), resolve).close()


def test_a_missing_authority_is_a_finding():
    """A ca_file that cannot be read is said before anything is sent."""
    there = app("https://127.0.0.1:9", ca_file="/nonexistent/ca.pem")
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        Transport(Vendor(), there, resolve).run(ask(READ))


@pytest.mark.parametrize("body", [b"<html>slow down</html>", GOOD, b""])
def test_429_is_throttling_whatever_its_body(body):
    """HTTP 429 says that the call was refused, whoever answers it."""
    with Server(http(body, "429 Too Many Requests"), http(GOOD)) as server:
        assert one(server).verdict.result is Result.CONFIRMED
    assert len(server.seen) == 2


def test_a_provider_that_cannot_judge_leaves_doubt():
    """An envelope that the provider stumbles over must not lose the call."""
    with Server(http(b'{"code":{}}')) as server:
        verdict = one(server).verdict
    assert (verdict.result, verdict.code, verdict.why) == (
        Result.AMBIGUOUS,
        "unreadable",
        Why.OTHER,
    )
