"""Keys: what recorded state is encrypted with; read from references when needed, known by ids."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

from reconciler.errors import ConfigError, ReconcilerError, SecretError, StateError
from reconciler.stores.cipher import CLEAR, Aes, Cipher, Key, key_id
from reconciler.values import Reference
from reconciler.workspace import Encryption

BYTES: Final = 32
MAKE: Final = 'python3 -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
"""How anybody makes a key."""

NO_KEY: Final = "state-key-missing"
NOT_ENCRYPTED: Final = "state-not-encrypted"
NEEDS: Final = (NO_KEY, NOT_ENCRYPTED)
"""What is wrong with the keys and not with the state."""

_VARIED: Final = 20
"""Different bytes, and different steps from byte to byte, that random 32 never fall short of."""


def read_key(text: str) -> Key:
    """Return the key that a text holds. Raises ValueError with what is wrong with it."""
    plain = text.strip().translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        secret = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is no base64") from None
    if len(secret) != BYTES:
        raise ValueError(f"it has {len(secret)} bytes, not {BYTES}")
    steps = {(after - before) % 256 for before, after in pairwise(secret)}
    if min(len({*secret}), len(steps)) < _VARIED or secret.isascii():
        raise ValueError("it is not random")
    return Key(key_id(secret), secret)


class Keys:
    """The keys of a workspace; each is resolved at its first use.

    `clear` says that clear state is read also where a key is named: only what encrypts it, and what
    reads old backups, may do that. Raises SecretError for what is no key, ConfigError where the
    package that encrypts is not installed.
    """

    def __init__(
        self,
        settings: Encryption | None = None,
        resolve: Callable[[Reference], str] = str,
        *,
        clear: bool = False,
    ) -> None:
        self._settings = settings or Encryption()
        self._resolve = resolve
        self._clear = clear
        self._known: dict[Reference, Key] = {}
        self._ciphers: dict[tuple[str, str, str], Cipher] = {}

    def also_clear(self) -> Keys:
        """Return the same keys, for reading what may be clear."""
        return Keys(self._settings, self._resolve, clear=True)

    @property
    def first(self) -> str:
        """The id of the key that is to be written with; empty where state is to be clear."""
        return self._key(self._settings.key).id if self._settings.key else ""

    def writing(self, workspace: str, lineage: str) -> Cipher:
        """Return what a state is to be written with that is written anew."""
        reference = self._settings.key
        return self._cipher(self._key(reference), workspace, lineage) if reference else CLEAR

    def reading(self, id: str, workspace: str, lineage: str, name: str) -> Cipher:
        """Return what the state called `name` is read with, which is under the key with this id.

        Raises StateError where the workspace has no such key, and for clear state where it has one.
        """
        if id:
            return self._cipher(self._find(id, name), workspace, lineage)
        if lineage and self._settings.key and not self._clear:
            raise StateError.of(
                NOT_ENCRYPTED,
                f"{name}: the state is not encrypted, but reconciler.yaml names a key for it",
                hint="If it is as you left it, encrypt it: reconciler state rekey",
                source=self._settings.source,
            )
        return CLEAR

    def _find(self, id: str, name: str) -> Key:
        known = []
        for reference in self._references():
            key = self._key(reference)
            if key.id == id:
                return key
            known.append(f"{key.id} ({reference})")
        raise StateError.of(
            NO_KEY,
            f"{name}: the state is encrypted with the key {id}, which this workspace does not have",
            detail=f"It has {', '.join(known)}." if known else "It has no key at all.",
            hint="Name that key in reconciler.yaml: state: {encryption: {key: env:NAME}}, or under"
            " previous; nothing can be read without it.",
            source=self._settings.source,
        )

    def _references(self) -> Iterator[Reference]:
        if self._settings.key:
            yield self._settings.key
        yield from self._settings.previous

    def _key(self, reference: Reference) -> Key:
        if (key := self._known.get(reference)) is None:
            try:
                key = self._known[reference] = read_key(self._resolve(reference))
            except ValueError as wrong:
                raise self._unfit(reference, str(wrong)) from None
        return key

    def _unfit(self, reference: Reference, why: str) -> ReconcilerError:
        return SecretError.of(
            "bad-key",
            f"{reference} holds no key for the state: {why}",
            detail="A key is 32 random bytes in base64.",
            hint=f"make one with: {MAKE}",
            source=self._settings.source,
        )

    def _cipher(self, key: Key, workspace: str, lineage: str) -> Cipher:
        place = (key.id, workspace, lineage)
        if (cipher := self._ciphers.get(place)) is None:
            try:
                cipher = self._ciphers[place] = Aes(key, workspace, lineage)
            except ImportError:
                raise ConfigError.of(
                    "no-cryptography",
                    "the state is encrypted, and the package for that is not installed",
                    hint="run: pip install 'im-reconciler[encryption]'",
                    source=self._settings.source,
                ) from None
        return cipher


NO_KEYS: Final = Keys()
