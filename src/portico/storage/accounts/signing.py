"""The keys that sign Portico's own tokens: EdDSA (RFC 8037) or HS256, sealed by the vault, rotated with overlap."""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.exc import IntegrityError

from portico.errors import Invalid, StorageUnavailable
from portico.storage.audit import note
from portico.storage.changes import SIGNING_KEYS, Changes
from portico.storage.database import Database
from portico.storage.ids import now, uuid7
from portico.storage.tables import SigningKeyRow, sealed_as

if TYPE_CHECKING:
    from portico.storage.vault import Vault

Jwk = dict[str, Any]

EDDSA: Final = "EdDSA"
HS256: Final = "HS256"
ALGORITHMS: Final = (EDDSA, HS256)
OVERLAP: Final = 366 * 86400.0  # seconds; the longest that a token of ours may live
TABLE: Final = "signing_keys"
ATTEMPTS: Final = 20


class SigningKeys:
    """The repository of signing keys. Keys are JWKs (RFC 7517) with `kid` and `alg`."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault

    async def current(self, algorithm: str = EDDSA) -> Jwk:
        """The private key that signs now; made when there is none yet."""
        _check(algorithm)
        found = await self._rows(_signs(algorithm))
        return self._private(found[0]) if found else await self._make(algorithm, None)

    async def all(self) -> list[Jwk]:
        """Every private key whose tokens may be valid, oldest first."""
        return [self._private(row) for row in await self._rows(_valid())]

    async def verifying(self) -> list[Jwk]:
        """What every valid token of ours can be verified with: public keys, and shared secrets as they are."""
        rows = await self._rows(_valid())
        return [dict(row.public) if row.public else self._private(row) for row in rows]

    async def public(self) -> list[Jwk]:
        """The public keys, for anyone to see."""
        return [dict(row.public) for row in await self._rows(_valid()) if row.public]

    async def rotate(self, overlap: float = OVERLAP, algorithm: str = EDDSA) -> Jwk:
        """A new key that signs from now on; tokens of the old one are verified for `overlap` seconds more."""
        _check(algorithm)
        if not 0 <= overlap <= OVERLAP:
            raise Invalid("overlap", "must be from 0 seconds to 366 days")
        return await self._make(algorithm, overlap)

    async def prune(self) -> int:
        """Remove keys with which nothing is verified any more; how many."""
        async with self._db.write() as session:
            gone = await session.execute(delete(SigningKeyRow).where(SigningKeyRow.retires_at < now()))
            return int(gone.rowcount)  # type: ignore[attr-defined]

    async def _make(self, algorithm: str, overlap: float | None) -> Jwk:
        """A new key in place of the present one; with an overlap of None only where there is none."""
        for _ in range(ATTEMPTS):
            try:
                return await self._try(algorithm, overlap)
            except IntegrityError:  # another process has just made one: now it is seen
                continue
        raise StorageUnavailable("too many processes make signing keys at once; nothing was written")

    async def _try(self, algorithm: str, overlap: float | None) -> Jwk:
        private, public = _generate(algorithm)
        kid = private["kid"]
        sealed = self._vault.seal(json.dumps(private).encode(), sealed_as(TABLE, kid))
        moment = now()
        row = SigningKeyRow(
            id=kid, algorithm=algorithm, public=public, sealed=sealed, created_at=moment, retires_at=None
        )
        async with self._db.write() as session:
            old = await session.scalar(select(SigningKeyRow).where(_signs(algorithm)).with_for_update())
            if old is not None and overlap is None:
                return self._private(old)
            if old is not None:
                old.retires_at = moment + timedelta(seconds=overlap or 0)
                await session.flush()
            session.add(row)
            await session.flush()
            Changes.append(session, SIGNING_KEYS, kid, {})
            note(session, "signing_keys.create", ("signing_key", kid), detail={"algorithm": algorithm})
        return private

    async def _rows(self, which: ColumnElement[bool]) -> list[SigningKeyRow]:
        async with self._db.read() as session:
            wanted = select(SigningKeyRow).where(which).order_by(SigningKeyRow.created_at, SigningKeyRow.id)
            return list((await session.scalars(wanted)).all())

    def _private(self, row: SigningKeyRow) -> Jwk:
        plain = self._vault.unseal(row.sealed, sealed_as(TABLE, row.id))
        key: Jwk = json.loads(plain)
        return key


def _check(algorithm: str) -> None:
    if algorithm not in ALGORITHMS:
        raise Invalid("algorithm", f"must be {' or '.join(ALGORITHMS)}")


def _signs(algorithm: str) -> ColumnElement[bool]:
    return (SigningKeyRow.algorithm == algorithm) & SigningKeyRow.retires_at.is_(None)


def _valid() -> ColumnElement[bool]:
    return or_(SigningKeyRow.retires_at.is_(None), SigningKeyRow.retires_at > now())


def _generate(algorithm: str) -> tuple[Jwk, Jwk]:
    """A private key and its public half; {} for a shared secret."""
    kid = uuid7()
    if algorithm == HS256:
        return {"kty": "oct", "kid": kid, "alg": HS256, "use": "sig", "k": _base64(secrets.token_bytes(32))}, {}
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = Ed25519PrivateKey.generate()
    x = _base64(made.public_key().public_bytes_raw())
    public = {"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": EDDSA, "use": "sig", "x": x}
    return {**public, "d": _base64(made.private_bytes_raw())}, public


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
