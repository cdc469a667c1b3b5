"""Session: a workspace opened for one run, with its store, its vendors and its identity."""

from __future__ import annotations

import os
import pwd
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.accounts import Address, flatten, split, targeted
from reconciler.capabilities import Capabilities
from reconciler.decide import Question
from reconciler.diagnostics import Diagnostic
from reconciler.errors import SecretError, Stale, StateError, UsageError
from reconciler.files import OWN
from reconciler.session.runner import context, disposable
from reconciler.session.tokens import Tokens
from reconciler.state import Holder, Record, Rewriter, Run, Store
from reconciler.values import Reference, to_text
from reconciler.workspace import Workspace

if TYPE_CHECKING:
    from reconciler.carry import Link
    from reconciler.changes import Override
    from reconciler.config.stream import Desired
    from reconciler.events import Throttled
    from reconciler.redaction import Redactor
    from reconciler.secrets import Resolver
    from reconciler.state import Reader
    from reconciler.stores.backups import Opens
    from reconciler.stores.keys import Keys
    from reconciler.transport import Transport
    from reconciler.transport.pacing import Pacer


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


class Session:
    """Opened lazily: who uses it pays only for that. Close it by leaving `with`.

    `place` is the folder that holds `reconciler.yaml`; `environ` is where references and CI
    services are looked up; `guard` hears of the redactor before the first secret is resolved.
    Raises UsageError where there is no such folder.
    """

    def __init__(
        self,
        place: str | Path,
        environ: Mapping[str, str],
        guard: Callable[[Redactor], None] = lambda _: None,
    ) -> None:
        self.root = Path(place).resolve()
        if not self.root.is_dir():
            raise UsageError.of(
                "no-folder",
                f"{place} is no folder",
                hint="name the folder that holds reconciler.yaml (--chdir DIR)",
            )
        self.environ = environ
        self._guard = guard
        self.warnings: list[Diagnostic] = []
        self._open = ExitStack()
        self.transports: list[Transport] = []
        self._pacers: dict[str, Pacer] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close vendors and state, the last one opened first."""
        self._open.close()

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace file, read and checked."""
        from reconciler.config import load
        from reconciler.providers import capabilities

        return load(self.root, capabilities=capabilities)

    @cached_property
    def capabilities(self) -> Mapping[str, Capabilities]:
        """The capability table of each provider, by its name."""
        from reconciler.providers import provider

        return {
            name: provider(app.type, app.options).capabilities
            for name, app in self.workspace.apps.items()
        }

    @cached_property
    def store(self) -> Store:
        """The state store; opening it for reading creates nothing."""
        return self.opened(self.keys)

    def opened(self, keys: Keys) -> Store:
        """Open the state store with other keys than those that it should be read with."""
        from reconciler.stores import open_store

        store = open_store(
            self.workspace.state,
            self.root,
            self.workspace.name,
            environ=self.environ,
            resolve=lambda reference: self.resolver.resolve(reference),
            keys=keys,
        )
        self._open.callback(store.close)
        return store

    @cached_property
    def keys(self) -> Keys:
        """What the recorded state is encrypted with; no key is read before it is needed."""
        from reconciler.stores.keys import Keys

        return Keys(self.workspace.state.encryption, lambda one: self.resolver.resolve(one))

    @property
    def backups(self) -> Opens:
        """What opens the backups of the state."""
        from reconciler.stores.backups import Opens

        return Opens(self.workspace.name, self.keys)

    def desired(self, moment: datetime | None = None, *, cache: bool = False) -> Desired:
        """Return the desired accounts as a stream; warnings gather in `warnings`.

        With a `moment` they are validated, at that moment.
        """
        from reconciler.config import desired

        environ = self.environ if cache else None
        stream = desired(self.workspace, self.capabilities, self.warnings, moment, environ)
        self._open.callback(stream.close)
        return stream

    @cached_property
    def resolver(self) -> Resolver:
        """What turns references into secrets."""
        from reconciler.secrets import Resolver

        reserved = [
            value
            for app in self.workspace.apps.values()
            for value in (app.proxy, *app.credentials.values())
            if isinstance(value, Reference)
        ]
        reserved += self.workspace.state.secrets
        hooks = self.workspace.notify
        reserved += [text for hook in hooks for text in (hook.url, hook.secret) if text]
        resolver = Resolver(
            self.root, self.workspace.secrets, environ=self.environ, reserved=reserved
        )
        self._guard(resolver.redactor)
        return resolver

    def address(self, text: str) -> Address:
        """Return an address as the vendor keeps it. Raises UsageError with the nearest provider."""
        from difflib import get_close_matches

        try:
            name, account_id = split(text)
        except ValueError:
            if len(self.workspace.apps) != 1:
                raise UsageError.of(
                    "bad-address", f"{text!r} is not an address", hint="write provider/account-id"
                ) from None
            (name,), account_id = self.workspace.apps, text
        table = self.capabilities.get(name)
        if table is None:
            # A provider that was renamed away may still have records.
            near = get_close_matches(name, self.workspace.apps, 1)
            if near and not any(split(a)[0] == name for a, _ in self.store.index()):
                raise UsageError.of(
                    "bad-address",
                    f"there is no provider {name!r}",
                    hint=f"did you mean {near[0]}/{account_id}?",
                )
            return Address(f"{name}/{account_id}")
        return Address(f"{name}/{table.id.fold(account_id)}")

    def targets(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return targets as addresses and provider names."""
        return tuple(text if text in self.workspace.apps else self.address(text) for text in texts)

    def question(self, as_of: datetime, targets: Collection[str], **more: Any) -> Question:
        """Return what a plan is asked under; `targets` as `targets` returns them."""
        return Question(
            as_of=as_of,
            now=now(),
            capabilities=self.capabilities,
            rates={name: app.rate for name, app in self.workspace.apps.items()},
            on_absent=self.workspace.on_absent,
            keyed=self._keyed(),
            targets=tuple(targets),
            reasons=self.workspace.ban_reasons,
            **more,
        )

    def overrides(self, reasons: Mapping[str, str]) -> tuple[Override, ...]:
        """Return the rules that shall not refuse one plan, from the reason for each by its id.

        Raises UsageError for what is no rule or no reason.
        """
        from reconciler.session.overrides import overrides

        return overrides(reasons, self.workspace.rules, self.operator) if reasons else ()

    def _keyed(self) -> Callable[[Address, Mapping[str, Any]], str] | None:
        key = self.workspace.secrets.fingerprint_key
        if key is None:
            return None
        tokens = Tokens(self.resolver, key)

        def keyed(where: Address, token: Mapping[str, Any]) -> str:
            # A pull request has no secrets: then the version alone decides.
            try:
                return tokens.key(where, token) if "from" in token else ""
            except SecretError:
                return ""

        return keyed

    def links(
        self,
        names: Iterable[str],
        *,
        fields: Iterable[tuple[Address, Iterable[str]]] = (),
        read_only: bool = False,
        check: Callable[[], None] = lambda: None,
        report: Callable[[Throttled], None] | None = None,
    ) -> dict[str, Link]:
        """Return a link per provider, which connects and resolves secrets at its first call.

        `fields` are the paths, by account, that this command is about: a vendor with open fields
        gives those only that are asked for by name.
        """
        from reconciler.carry import Link
        from reconciler.providers import provider
        from reconciler.transport import Transport

        tokens = Tokens(self.resolver, self.workspace.secrets.fingerprint_key)
        links = {}
        apps = {name: self.workspace.apps[name] for name in names if name in self.workspace.apps}
        named: dict[str, set[str]] = {
            name: set() for name in apps if self.capabilities[name].open_fields
        }
        for where, paths in fields if named else ():
            if (known := named.get(split(where)[0])) is not None:
                known.update(paths)
        for name, app in apps.items():
            speaks = provider(app.type, app.options, named.get(name, ()))
            transport = self._open.enter_context(
                Transport(
                    speaks,
                    app,
                    self.resolver.resolve,
                    resolve_token=tokens.resolve,
                    deliver=self.resolver.deliver,
                    read_only=read_only,
                    report=report,
                    check=check,
                    redactor=self.resolver.redactor,
                    pacers=self._pacers,
                )
            )
            self.transports.append(transport)
            links[name] = Link(speaks, transport.run, tokens, app.concurrency, check)
        return links

    def recorded(self, targets: Collection[str]) -> Iterator[Record]:
        """Yield the records of the targets, sorted by address."""
        return (one for one in self.store.everything() if targeted(one.address, targets))

    def readers(self, targets: Collection[str]) -> dict[str, Link]:
        """Return a link that only reads per provider with such records, its app checked."""
        recorded = {split(one)[0] for one, _ in self.store.index() if targeted(one, targets)}
        names = self.workspace.apps.keys() & recorded
        self.same_apps(self.store, names)
        fields = ((one.address, flatten(one.document)) for one in self.recorded(targets))
        return self.links(names, fields=fields, read_only=True)

    def same_apps(self, recorded: Reader, names: Iterable[str]) -> dict[str, str]:
        """Return the identities of the vendor apps; refuse one that the state does not belong to.

        The state of one app is never planned, applied or compared against another.
        """
        from reconciler.providers import provider
        from reconciler.transport import app_identity

        bound = recorded.apps()
        apps = {}
        for name in names:
            app = self.workspace.apps[name]
            apps[name] = app_identity(provider(app.type, app.options), app, self.resolver.resolve)
            if bound.get(name, apps[name]) != apps[name]:
                raise Stale.of(
                    "wrong-app",
                    f"provider {name} now points to another app ({apps[name]}) than "
                    f"the one its accounts are recorded of ({bound[name]})",
                    hint="check the credentials; a new app wants a provider name of its own",
                )
        return apps

    def lock(
        self,
        operation: str,
        patience: float = 0.0,
        store: Store | None = None,
        apps: Collection[str] | None = None,
    ) -> AbstractContextManager[Rewriter]:
        """Return the lock for a command that writes; `patience` is in seconds.

        `apps` are the providers whose accounts it writes, None for all.

        Raises StateError where what it writes would be thrown away with the machine.
        """
        self.refuse_ephemeral()
        return (store or self.store).lock(self.holder(operation), patience, apps)

    def refuse_ephemeral(self) -> None:
        """Raise StateError on a CI runner whose local state would be thrown away with it."""
        from reconciler.stores import BACKENDS

        settings = self.workspace.state
        if settings.backend == "sqlite" and not settings.ephemeral and disposable(self.environ):
            raise StateError.of(
                "ephemeral-state",
                f"CI is set and the state is a local file ({settings.path}), which is lost with "
                "this machine",
                detail="The next run would take every account for a new one.",
                hint=f"share the state (state: {{backend: …}} with {' or '.join(BACKENDS[1:])}); "
                "or, where .reconciler/ is kept by a cache or by the machine, write "
                "state: {ephemeral: true}",
            )

    def keep(self) -> None:
        """Back the state up before it is changed. Raises StateError where that fails."""
        from reconciler.stores.backups import keep

        keep(self.store, self.root / OWN / "backups", to_text(now()), self.keys)

    def holder(self, operation: str) -> Holder:
        """Return who asks for the lock."""
        return Holder(self.operator, socket.gethostname(), os.getpid(), operation)

    @cached_property
    def operator(self) -> str:
        """Who runs this: the CI's actor, else the user of this machine."""
        if actor := self.context.get("actor"):
            return actor
        try:
            user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            user = str(os.getuid())
        return f"{user}@{socket.gethostname()}"

    @cached_property
    def context(self) -> dict[str, str]:
        """Where this runs: CI service, job, repository, commit; see `runner.context`."""
        return context(self.environ, self.root)

    def run(self, operation: str, fingerprint: str = "") -> Run:
        """Return the run that what is written belongs to."""
        started = to_text(now())
        return Run(new_id(), operation, started, self.operator, fingerprint, self.context)


def new_id() -> str:
    """Return a new random id."""
    return str(uuid.uuid4())


def monotonic() -> float:
    """Return seconds that only ever grow."""
    return time.monotonic()
