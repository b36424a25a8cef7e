"""CloudEvents over HTTP, signed as Standard Webhooks says: HMAC-SHA256 (`v1`) or ed25519 (`v1a`)."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from emco.domain.errors import Invalid
from emco.domain.events import Event
from emco.domain.notices import (
    CLOUDEVENTS,
    CLOUDEVENTS_BATCH,
    Sink,
    SinkSpec,
    cloud_event,
    require_url,
)
from emco.domain.secrets import MASK

SHARED: Final = "whsec_"
PRIVATE: Final = "whsk_"
_LENGTHS: Final = {SHARED: range(24, 65), PRIVATE: (32, 64)}


class Webhook(Sink, name="webhook"):
    """One event, or with `batch` a list of them, in each POST."""

    @classmethod
    def check(cls, spec: SinkSpec) -> None:
        """It needs a URL and at least one secret to sign with."""
        require_url(spec)
        if not spec.signing_secrets:
            raise Invalid(
                "Invalid Input:",
                "spec.sink.signingSecrets: a webhook is signed; give a secret: "
                f'echo "{SHARED}$(openssl rand -base64 32)"',
            )
        for number, secret in enumerate(spec.signing_secrets):
            if (value := secret.get_secret_value()) != MASK:
                _key(value, f"spec.sink.signingSecrets[{number}]")

    async def send(self, events: Sequence[Event]) -> None:
        """The id is that of the event, or of the first and last in a batch: the same at every attempt."""
        told = [cloud_event(event) for event in events]
        is_batch = self.spec.batch > 1
        body = json.dumps(told if is_batch else told[0], separators=(",", ":")).encode()
        message = "evt_" + "_".join(dict.fromkeys((events[0].id, events[-1].id)))
        stamp = str(int(time.time()))
        secrets = [secret.get_secret_value() for secret in self.spec.signing_secrets]
        headers = {
            **{name: value.get_secret_value() for name, value in self.spec.headers.items()},
            "Content-Type": CLOUDEVENTS_BATCH if is_batch else CLOUDEVENTS,
            "webhook-id": message,
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(sign(s, message, stamp, body) for s in secrets),
        }
        await self.http.post(self.spec.address, body, headers)


def sign(secret: str, message: str, stamp: str, body: bytes) -> str:
    """The signature of one message by one secret."""
    signed = b".".join((message.encode(), stamp.encode(), body))
    key = _key(secret, "the signing secret")
    if secret.startswith(PRIVATE):
        raw = Ed25519PrivateKey.from_private_bytes(key[:32]).sign(signed)
        return f"v1a,{base64.b64encode(raw).decode()}"
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def _key(secret: str, where: str) -> bytes:
    prefix = next((p for p in (SHARED, PRIVATE) if secret.startswith(p)), "")
    try:
        key = base64.b64decode(secret.removeprefix(prefix), validate=True)
        if not prefix or len(key) not in _LENGTHS[prefix]:
            raise ValueError
    except ValueError:
        raise Invalid(
            "Invalid Input:",
            f"{where}: write {SHARED} and base64 of 24 to 64 bytes, or {PRIVATE} and base64 of "
            "an ed25519 key",
        ) from None
    return key
