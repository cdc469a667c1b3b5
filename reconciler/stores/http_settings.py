"""Settings of state behind HTTP: Terraform's names, and environment variables for what is unset."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import certifi
import httpx

from reconciler.errors import ConfigError, ReconcilerError
from reconciler.values import Reference

_TEXTS: Final = (
    "address",
    "update_method",
    "lock_address",
    "lock_method",
    "unlock_address",
    "unlock_method",
    "username",
    "password",
    "ca_file",
)
_LOGIN: Final = ("username", "password")


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Terraform's own setting names; `root` is the folder that `ca_file` is beneath.

    Redirects are refused, plain http too unless it is to this machine or allowed.
    """

    address: str
    update_method: str = "POST"
    lock_address: str = ""
    lock_method: str = "LOCK"
    unlock_address: str = ""
    unlock_method: str = "UNLOCK"
    username: str = ""
    password: str = field(default="", repr=False)
    allow_http: bool = False
    ca_file: str = ""
    root: Path = field(default_factory=Path)

    @property
    def secure(self) -> bool:
        """Whether any address speaks TLS."""
        addresses = (self.address, self.lock_address, self.unlock_address)
        return any(address[:6].lower() == "https:" for address in addresses)


def http_settings(
    options: Mapping[str, Any],
    root: Path,
    environ: Mapping[str, str],
    resolve: Callable[[Reference], str],
) -> HttpSettings:
    """Return the settings of the workspace file, and of RECONCILER_HTTP_* for those it lacks.

    Of Terraform's own TF_HTTP_* only the login counts: its address may be that of the state of
    something else. Raises ConfigError where no address is given or one cannot be used.
    """
    found: dict[str, Any] = {}
    for name in _TEXTS:
        value = options.get(name)
        if value is None:
            value = _from_environ(name, environ)
        if value is not None:
            found[name] = resolve(value) if isinstance(value, Reference) else str(value)
    if not found.get("address"):
        raise ConfigError.of(
            "missing-key",
            "the state backend http has no address",
            hint="write address: under state:, or set RECONCILER_HTTP_ADDRESS",
        )
    settings = HttpSettings(**found, allow_http=bool(options.get("allow_http", False)), root=root)
    for name in ("address", "lock_address", "unlock_address"):
        _check_address(getattr(settings, name), name, allow_http=settings.allow_http)
    return settings


def _from_environ(name: str, environ: Mapping[str, str]) -> Reference | str | None:
    for prefix in ("RECONCILER_HTTP_", "TF_HTTP_") if name in _LOGIN else ("RECONCILER_HTTP_",):
        variable = f"{prefix}{name.upper()}"
        if environ.get(variable):
            # By way of a reference, so that it is kept out of all that is printed.
            return Reference(f"env:{variable}") if name == "password" else environ[variable]
    return None


def _check_address(address: str, name: str, *, allow_http: bool) -> None:
    if not address:
        return
    try:
        url, _ = httpx.URL(address), urlsplit(address).port
    except (httpx.InvalidURL, ValueError):
        raise _bad(name, "is no address", "write https://…") from None
    if url.userinfo:
        raise _bad(name, "holds a password", "write username: and password: env:NAME instead")
    if url.scheme not in ("http", "https") or not url.host:
        raise _bad(name, "is no http or https address", "write https://…")
    if url.scheme == "http" and not (allow_http or _loopback(url.host)):
        raise _bad(name, "is plain http", "write https://…, or add allow_http: true")


def _bad(name: str, what: str, hint: str) -> ReconcilerError:
    return ConfigError.of("bad-address", f"the {name} of the state {what}", hint=hint)


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def trust(settings: HttpSettings) -> ssl.SSLContext:
    # Not `ssl.create_default_context`: that writes session keys where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(certifi.where())
    if settings.ca_file:
        try:
            context.load_verify_locations(settings.root / settings.ca_file)
        except (OSError, ValueError) as problem:
            why = f"cannot be used: {type(problem).__name__}"
            raise _bad("ca_file", why, "name a PEM file") from None
    return context
