"""Tokens: where account tokens come from in one run; clear text stays with who encodes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.accounts import Address, split
from reconciler.changes import vendor_mints
from reconciler.errors import SecretError
from reconciler.values import Reference

if TYPE_CHECKING:
    from reconciler.conversation import Token
    from reconciler.secrets import Resolver


@dataclass(slots=True)
class Tokens:
    """Account tokens of one session: from references, minted here, or minted by the vendor.

    A minted one has a reference of its own, `minted:ADDRESS`, that no file can write. Under
    `fingerprint_key`, where there is one, tokens are told apart without being kept.
    """

    resolver: Resolver
    fingerprint_key: Reference | None = None
    minted: dict[str, str] = field(default_factory=dict)
    keyless: bool = False

    def ready(self, address: Address, token: Mapping[str, Any]) -> Token:
        """Return a reference that `resolve` knows, or a sink that can take the vendor's token.

        A token minted here has reached its sink by then.
        """
        from reconciler.conversation import Sink
        from reconciler.secrets import mint

        if "from" in token:
            return Reference(token["from"])
        if vendor_mints(token):
            sink = Reference(token["sink"])
            self.resolver.expect(sink)
            return Sink(sink)
        name = f"minted:{address}"
        if name not in self.minted:
            value = mint()
            self.resolver.deliver(Reference(token["sink"]), value)
            self.minted[name] = value
        return Reference(name)

    def resolve(self, reference: Reference) -> str:
        """Return the clear text where a request is encoded."""
        if reference.scheme == "minted":
            return self.minted[reference.text]
        return self.resolver.resolve_for_account(reference)

    def key(self, address: Address, token: Mapping[str, Any]) -> str:
        """Return the keyed fingerprint of a token; it follows the account to another provider.

        It is empty where there is no key or the key does not resolve: the version alone decides.
        """
        from reconciler.secrets import fingerprint

        key = self.fingerprint_key
        if key is None or self.keyless or vendor_mints(token):
            return ""
        ready = self.ready(address, token)
        if not isinstance(ready, Reference):
            return ""
        value = self.resolve(ready)
        try:
            known = self.resolver.resolve(key)
        except SecretError as problem:
            # The token is set by now, so its account has not failed. Asked once, and told once.
            from logging import getLogger

            self.keyless = True
            getLogger(__name__).warning("%s Token versions alone decide.", problem)
            return ""
        return fingerprint(known, split(address)[1], value)
