"""Immutable files by the SHA-256 of their plaintext, sealed at rest; the same content is kept once."""

import hashlib
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select, update

from emco.domain.errors import NotFound
from emco.store import tables as t
from emco.store.crypto import Keyring
from emco.store.engine import Database


class Blobs:
    """Charts, profiles, kubeconfigs, manifests, plans."""

    def __init__(self, database: Database, keys: Keyring) -> None:
        self._database, self._keys = database, keys

    def put(self, connection: Connection, content: bytes) -> str:
        """Inside a transaction: keep `content`, return its digest."""
        digest = hashlib.sha256(content).hexdigest()
        known = connection.execute(select(t.blob.c.digest).where(t.blob.c.digest == digest)).first()
        if known is None:
            sealed = self._keys.seal(content, context=digest.encode())
            connection.execute(
                insert(t.blob).values(digest=digest, sealed=sealed, created=datetime.now(UTC))
            )
        return digest

    def put_blob(self, content: bytes) -> str:
        """Keep `content`, return its digest. A second call changes nothing."""
        return self._database.write(lambda connection: self.put(connection, content))

    def blob(self, digest: str) -> bytes:
        """The content; `NotFound` when there is none of that digest."""
        with self._database.read() as connection:
            sealed = connection.execute(
                select(t.blob.c.sealed).where(t.blob.c.digest == digest)
            ).scalar()
        if sealed is None:
            raise NotFound("Stored file not found", f"no file has the digest {digest}")
        return self._keys.open(sealed, context=digest.encode())

    def rotate(self) -> int:
        """Seal again, with the newest key, what an older one sealed; returns how many."""
        with self._database.read() as connection:
            digests = list(connection.execute(select(t.blob.c.digest)).scalars())
        return sum(self._reseal(digest) for digest in digests)

    def _reseal(self, digest: str) -> bool:
        def work(connection: Connection) -> bool:
            sealed = connection.execute(
                select(t.blob.c.sealed).where(t.blob.c.digest == digest)
            ).scalar()
            if sealed is None or self._keys.is_newest(sealed):
                return False
            context = digest.encode()
            fresh = self._keys.seal(self._keys.open(sealed, context=context), context=context)
            connection.execute(update(t.blob).where(t.blob.c.digest == digest).values(sealed=fresh))
            return True

        return self._database.write(work)
