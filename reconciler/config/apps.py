"""Apps: one entry of `providers`, checked against what its vendor demands."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from reconciler.capabilities import Capabilities
from reconciler.config.close import close
from reconciler.config.references import is_reference, reference
from reconciler.config.scalars import Wrong
from reconciler.values import Reference
from reconciler.workspace import App

OPTIONS = ("blocked_tag",)
_TAG = re.compile(r"Tag_Profile_Custom_[A-Za-z]{1,8}")

Tell = Callable[..., None]
Path_ = tuple[Any, ...]


def app(
    name: str,
    written: Mapping[str, Any],
    capabilities: Callable[[str], Capabilities | None],
    tell: Tell,
) -> App | None:
    """Return the vendor app; tells what is wrong with it.

    None where it has no type that is known: the schema tells that.
    """
    path = ("providers", name)
    kind = written.get("type")
    vendor = capabilities(kind) if isinstance(kind, str) else None
    if vendor is None or not isinstance(kind, str):
        return None
    tag = written.get("blocked_tag")
    if isinstance(tag, str) and not _TAG.fullmatch(tag):
        tell(
            (*path, "blocked_tag"),
            "bad-tag",
            f"{tag[:80]!r} is no custom profile tag.",
            "write Tag_Profile_Custom_ and the 1 to 8 letters registered in the console",
        )
    proxy = written.get("proxy")
    return App(
        name=name,
        type=kind,
        endpoint=_endpoint(written, vendor, path, tell),
        credentials=_credentials(written.get("credentials", {}), vendor, path, tell),
        rate=float(written["rate"]) if "rate" in written else None,
        concurrency=int(written.get("concurrency", 16)),
        allow_http=bool(written.get("allow_http", False)),
        proxy=_reference(proxy, (*path, "proxy"), tell) if isinstance(proxy, str) else None,
        ca_file=str(written.get("ca_file", "")),
        options={key: written[key] for key in OPTIONS if key in written},
    )


def _endpoint(written: Mapping[str, Any], vendor: Capabilities, path: Path_, tell: Tell) -> str:
    region, endpoint = written.get("region"), written.get("endpoint")
    regions = ", ".join(vendor.regions)
    if region is not None and endpoint is not None:
        tell(
            (*path, "endpoint"),
            "region-and-endpoint",
            "Both region and endpoint are given.",
            "keep one of them",
        )
    elif region is not None:
        if region not in vendor.regions:
            tell(
                (*path, "region"),
                "unknown-region",
                f"{vendor.title} has no region {str(region)[:80]!r}.",
                close(region, vendor.regions),
            )
        return vendor.regions.get(region, "")
    elif endpoint is None:
        tell(
            path,
            "missing-key",
            "The provider has neither region nor endpoint.",
            f"add region: with one of {regions}",
        )
    else:
        _check(endpoint, bool(written.get("allow_http", False)), (*path, "endpoint"), tell)
        return str(endpoint).rstrip("/")
    return ""


def _check(endpoint: str, allow_http: bool, path: Path_, tell: Tell) -> None:
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if (
        parts.scheme not in ("http", "https")
        or not host
        or any(c.isspace() or c == "\\" for c in endpoint)
    ):
        tell(
            path,
            "bad-url",
            "The endpoint is no http or https address.",
            "write everything before the API path: https://host",
        )
    elif "@" in parts.netloc or "?" in endpoint or "#" in endpoint:
        tell(
            path,
            "bad-url",
            "The endpoint holds a user name, a query or a fragment.",
            "write scheme, host, port and path only",
        )
    elif parts.scheme == "http" and not allow_http and not loopback(host):
        tell(
            path,
            "plain-http",
            "The endpoint is plain http to another machine.",
            "write https://, or add allow_http: true",
        )


def loopback(host: str) -> bool:
    """Tell whether a host name is this machine."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def _credentials(
    written: Any, vendor: Capabilities, path: Path_, tell: Tell
) -> dict[str, str | Reference]:
    made: dict[str, str | Reference] = {}
    where = (*path, "credentials")
    given = written if isinstance(written, Mapping) else {}
    for key in vendor.credentials:
        if key not in given:
            tell(
                where,
                "missing-credential",
                f"The credential {key} is missing.",
                f"add {key}: {'env:NAME' if 'secret' in key else 'here'}",
            )
    for key, text in given.items():
        if not isinstance(text, str):
            continue
        if key not in vendor.credentials:
            tell(
                (*where, key),
                "unknown-key",
                f"{vendor.title} has no credential {key[:80]!r}.",
                close(key, vendor.credentials),
            )
        elif is_reference(text):
            if (one := _reference(text, (*where, key), tell)) is not None:
                made[key] = one
        elif "secret" in key:
            tell(
                (*where, key),
                "literal-secret",
                f"The secret {key} is written out here.",
                'write a reference: env:NAME, file:PATH or cmd:["program","argument"]',
            )
        elif not text:
            tell((*where, key), "empty", f"The credential {key} is empty.", "write its value")
        else:
            made[key] = text
    return made


def _reference(text: str, path: Path_, tell: Tell) -> Reference | None:
    try:
        return reference(text)
    except Wrong as wrong:
        tell(path, wrong.id, wrong.summary, wrong.hint)
        return None
