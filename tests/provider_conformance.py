"""What every provider must do, over real HTTP against its emulated vendor.

A vendor's test module derives from `ProviderConformance` and gives the fixture `vendor`; see
`test_provider_conformance.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from reconciler.accounts import Observed
from reconciler.capabilities import Support
from reconciler.conversation import Provider, Result, Why
from reconciler.emulator import Settings
from reconciler.emulator.vendors import VENDORS, stored_as
from reconciler.providers import provider
from reconciler.transport import Transport
from reconciler.values import Reference
from reconciler.workspace import App
from tests.shared_emulator import control, impatient

TOKEN = Reference("env:IM_TOKEN")
SECRETS = {
    "env:app_secret": "demo-app-secret",
    "env:secret_key": "demo-secret-key",
    "env:IM_TOKEN": "a-first-token",
    "env:OTHER_TOKEN": "another-token",
}
NETEASE = {"app_key": "demo-app-key", "app_secret": Reference("env:app_secret")}


@contextmanager
def speaking(endpoint: str, type: str, *settings: Any) -> Iterator[Vendor]:
    """Give a provider with a way to its emulated vendor, on which no pause is waited for."""
    emulated, known = VENDORS[type], Settings()
    speaks = provider(type, *settings)
    credentials = {
        key: Reference(f"env:{key}") if "secret" in key else getattr(known, key)
        for key in speaks.capabilities.credentials
    }
    app = App("app", type, endpoint + emulated.prefix, rate=2000, credentials=credentials)
    place = f"{stored_as(type)}/{emulated.app(known)}"
    with Transport(speaks, app, lambda ref: SECRETS[ref.text], clock=impatient()) as transport:
        yield Vendor(speaks, transport, endpoint, place)


@dataclass(frozen=True)
class Vendor:
    """A provider with a way to its emulated vendor, and a look behind the counter."""

    provider: Provider
    transport: Transport
    endpoint: str
    place: str

    def held(self, account_id: str) -> Mapping[str, Any]:
        """Return what the vendor holds of an account."""
        found: Mapping[str, Any] = control(self.endpoint, f"accounts/{self.place}/{account_id}")
        return found

    def edit(self, account_id: str, **fields: Any) -> None:
        """Change an account as the vendor's console would, or a login."""
        control(self.endpoint, f"accounts/{self.place}/{account_id}", fields, "PATCH")

    def faults(self, api: str, **fault: Any) -> None:
        """Script what the vendor does wrong."""
        control(self.endpoint, "faults", [{"match": {"api": api}, **fault}], "POST")

    def guess(self, **guesses: Any) -> None:
        """Have the vendor do what nobody knows whether it does."""
        control(self.endpoint, "guesses", guesses, "PATCH")

    def calls(self) -> list[str]:
        """Return the APIs that were called."""
        return [entry["api"] for entry in control(self.endpoint, "requests")["requests"]]

    def read(self, *ids: str) -> Mapping[str, Observed]:
        """Read accounts."""
        return self.transport.run(self.provider.read(ids))

    def create(self, account_id: str, **document: Any) -> Any:
        """Register one account."""
        return self.transport.run(self.provider.create({account_id: document}))[account_id]

    def update(self, account_id: str, token: Reference | None = None, **fields: Any) -> Any:
        """Set fields; `__` stands for the dot of a path."""
        paths = {name.replace("__", "."): value for name, value in fields.items()}
        return self.transport.run(self.provider.update(account_id, paths, token))

    def block(self, account_id: str, **ban: Any) -> Any:
        """Ban an account."""
        return self.transport.run(self.provider.block(account_id, ban))

    def unblock(self, account_id: str) -> Any:
        """Lift a ban."""
        return self.transport.run(self.provider.unblock(account_id, {}))

    def native(self, path: str) -> bool:
        """Whether the vendor can hold a field and give it back."""
        return self.provider.capabilities.field(path).support in (Support.NATIVE, Support.EMULATED)


class ProviderConformance:
    """The suite; each test asks only for what the provider's capability table declares."""

    PROFILE: ClassVar[Mapping[str, Any]] = {
        "name": "客服",
        "avatar": "https://cdn.example.com/a.png",
        "sign": "hello",
        "gender": 1,
    }
    FLAGS = ("p2p_chat_banned", "team_chat_banned")
    THROTTLED = 416
    UPSERTS = False
    """Whether a create overwrites, so that only the reading before it protects an account."""

    def test_create_then_read(self, vendor: Vendor) -> None:
        """What was asked of a create is what a read gives, and the rest is the vendor's default."""
        made = vendor.create(
            "alice", profile=self.PROFILE, configuration=dict.fromkeys(self.FLAGS, True)
        )

        seen = vendor.read("alice")["alice"]

        assert made.result is Result.CONFIRMED
        assert seen.exists
        for name, value in self.PROFILE.items():
            assert seen.profile[name] == value
        assert all(seen.configuration[flag] is True for flag in self.FLAGS)
        assert seen.banned in (False, None)
        for path, field in vendor.provider.capabilities.fields.items():
            section, _, name = path.partition(".")
            if section == "profile" and name not in self.PROFILE and name in seen.profile:
                assert seen.profile[name] == field.default, path

    def test_create_never_overwrites(self, vendor: Vendor) -> None:
        """A second create is refused as existing, and the account is as it was."""
        if self.UPSERTS:
            pytest.skip("this vendor's create overwrites; apply reads before it")
        vendor.create("alice", profile={"name": "first"})

        again = vendor.create("alice", profile={"name": "second"})

        assert (again.result, again.why) == (Result.REJECTED, Why.EXISTS)
        assert vendor.read("alice")["alice"].profile["name"] == "first"

    def test_update_sets_only_what_is_named(self, vendor: Vendor) -> None:
        """An update sets the named fields and leaves the others alone."""
        vendor.create("alice", profile=self.PROFILE)

        done = vendor.update("alice", profile__name="Alice", configuration__p2p_chat_banned=True)

        seen = vendor.read("alice")["alice"]
        assert done.result is Result.CONFIRMED
        assert seen.profile["name"] == "Alice"
        assert seen.profile["sign"] == self.PROFILE["sign"]
        assert seen.configuration["p2p_chat_banned"] is True
        assert seen.configuration["team_chat_banned"] is False

    def test_every_field_can_be_cleared(self, vendor: Vendor) -> None:
        """Each profile field goes back to the vendor's default."""
        vendor.create("alice", profile=self.PROFILE)
        defaults = {
            f"profile.{name}": vendor.provider.capabilities.field(f"profile.{name}").default
            for name in self.PROFILE
        }

        done = vendor.transport.run(vendor.provider.update("alice", defaults, None))

        seen = vendor.read("alice")["alice"]
        assert done.result is Result.CONFIRMED
        for path, default in defaults.items():
            assert seen.profile[path.partition(".")[2]] == default

    def test_block_and_unblock(self, vendor: Vendor) -> None:
        """A block holds and ends the sessions once; an unblock lets the account in again."""
        vendor.create("alice")

        blocked = vendor.block("alice", reason="spam", notify="bye")
        during = vendor.read("alice")["alice"].banned
        kicks = vendor.held("alice")["kicks"]
        lifted = vendor.unblock("alice")

        assert blocked.result is lifted.result is Result.CONFIRMED
        assert during in (True, None)
        assert kicks == 1
        assert vendor.read("alice")["alice"].banned in (False, None)

    def test_block_without_kick(self, vendor: Vendor) -> None:
        """`kick: false` bans and leaves the sessions alone."""
        vendor.create("alice")

        assert vendor.block("alice", kick=False).result is Result.CONFIRMED
        assert vendor.held("alice")["kicks"] == 0

    def test_repeating_an_absolute_value_changes_nothing(self, vendor: Vendor) -> None:
        """Update, block and unblock may be repeated: the vendor holds the same afterwards."""
        vendor.create("alice")
        for once in (
            lambda: vendor.update("alice", profile__name="A"),
            lambda: vendor.block("alice", kick=False),
            lambda: vendor.unblock("alice"),
        ):
            assert once().result is Result.CONFIRMED
            before = vendor.read("alice")
            assert once().result is Result.CONFIRMED
            assert vendor.read("alice") == before

    def test_token_is_set_and_never_given_back(self, vendor: Vendor) -> None:
        """A token reaches the vendor, and no reading holds it."""
        if vendor.provider.capabilities.field("token").support is Support.UNSUPPORTED:
            pytest.skip("this vendor stores no token")
        vendor.create("alice", token={"value": TOKEN})
        first = vendor.held("alice")["token_sha256"]

        done = vendor.update("alice", Reference("env:OTHER_TOKEN"))

        assert done.result is Result.CONFIRMED
        assert vendor.held("alice")["token_sha256"] != first
        assert "token" not in str(vendor.read("alice"))

    def test_unknown_accounts(self, vendor: Vendor) -> None:
        """A read says that an account does not exist; every change of it is refused as missing."""
        vendor.create("alice")

        seen = vendor.read("alice", "nobody")

        assert seen["alice"].exists
        assert not seen["nobody"].exists
        for done in (
            vendor.update("nobody", profile__name="x"),
            vendor.block("nobody"),
            vendor.unblock("nobody"),
        ):
            assert (done.result, done.why) == (Result.REJECTED, Why.MISSING)

    def test_a_full_batch_is_read_at_once(self, vendor: Vendor) -> None:
        """As many accounts as the table says are read in one conversation, whichever exist."""
        size = vendor.provider.capabilities.batch["read"]
        vendor.create("u7")

        seen = vendor.read(*(f"u{number}" for number in range(size)))

        assert len(seen) == size
        assert [name for name, one in seen.items() if one.exists] == ["u7"]

    def test_throttling_is_waited_out(self, vendor: Vendor) -> None:
        """A throttled call is repeated after the pause and then done, once."""
        vendor.create("alice")
        api = vendor.provider.capabilities.apis("block")[0]
        vendor.faults(api, fault="code", code=self.THROTTLED)

        done = vendor.block("alice")

        assert done.result is Result.CONFIRMED
        assert vendor.held("alice")["kicks"] == 1
