"""Everything at rest is sealed: AES-256-GCM, a fresh nonce each, and the key's id beside it.

The newest key seals, every known key opens, so keys can be rotated without downtime.
"""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Sequence
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from emco.domain.errors import Invalid
from emco.settings import Settings

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ID_BYTES: Final = 8


class Keyring:
    """The keys of one installation, newest first."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise Invalid(
                "The secret keys cannot be used",
                "EMCO_SECRET_KEYS takes base64 of 32 bytes each, newest first, separated by commas: "
                "make one with `openssl rand -base64 32`",
            )
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self.newest = _key_id(keys[0])

    def __repr__(self) -> str:
        return f"Keyring({len(self._ciphers)} keys)"

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The configured keys; without any, a key file below `data`, made when it is missing."""
        text = settings.secret_keys.get_secret_value()
        if not text:
            text = _key_file(settings)
        try:
            return cls([base64.b64decode(part, validate=True) for part in text.split(",")])
        except binascii.Error:
            return cls([])

    def seal(self, plain: bytes, *, context: bytes) -> bytes:
        """Key id, nonce and ciphertext. The same `context` must be given to open it."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self.newest + nonce + self._ciphers[self.newest].encrypt(nonce, plain, context)

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """The plaintext; `Invalid` when no key fits or it was tampered with."""
        key_id, rest = sealed[:_ID_BYTES], sealed[_ID_BYTES:]
        cipher = self._ciphers.get(key_id)
        try:
            if cipher is None:
                raise InvalidTag
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], context)
        except InvalidTag:
            raise Invalid(
                "Stored data cannot be decrypted",
                "EMCO_SECRET_KEYS lacks the key it was sealed with, or the data was changed",
            ) from None

    def is_newest(self, sealed: bytes) -> bool:
        """True when rotation would change nothing."""
        return sealed[:_ID_BYTES] == self.newest


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"emco key id" + key).digest()[:_ID_BYTES]


def _key_file(settings: Settings) -> str:
    path = settings.data / "secret.key"
    settings.data.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".secret.key.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)))
        try:
            # A link, not a rename: of two processes that start at once, one key wins for both.
            path.hardlink_to(fresh)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()
