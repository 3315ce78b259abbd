"""What is asked in the background, as it is kept: sealed by the vault until it has been judged, then forgotten.

A payload is {"owner", "print", "sealed"}. `print` tells whether two requests are the same, and nothing else about them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from portico.errors import GiveUp, VaultError
from portico.storage.tables import sealed_as

if TYPE_CHECKING:
    from portico.storage.vault import Vault

TABLE: Final = "jobs"
PURPOSE: Final = b"portico detection print 1"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `metadata` is the JSON text of it, so that no database rewrites it; `asker` is KIND:ID."""

    text: str
    threshold: float
    reasoning: bool
    metadata: str | None
    url: str | None
    request_id: str
    asker: str

    def same(self) -> str:
        """What has to be equal in a request that is sent again."""
        return json.dumps([self.text, self.threshold, self.reasoning, self.metadata, self.url])


class Envelopes:
    """Seals and opens payloads."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._key = hmac.digest(vault.key("secrets"), PURPOSE, "sha256")
        self._epoch = vault.fingerprint[:8]

    def seal(self, job: str, owner: str, asked: Asked) -> dict[str, Any]:
        """The payload of the job with this id."""
        plain = json.dumps(asdict(asked), ensure_ascii=False).encode()
        sealed = base64.b64encode(self._vault.seal(plain, sealed_as(TABLE, job))).decode()
        return {"owner": owner, "print": self.print(asked), "sealed": sealed}

    def open(self, job: str, payload: dict[str, Any]) -> Asked:
        """What was asked; GiveUp when it can't be read."""
        try:
            sealed = base64.b64decode(str(payload["sealed"]), validate=True)
            return Asked(**json.loads(self._vault.unseal(sealed, sealed_as(TABLE, job))))
        except (KeyError, binascii.Error, VaultError):
            raise GiveUp("what was asked can't be read any more") from None

    def print(self, asked: Asked) -> str:
        """Keyed, so that nobody can find a short text by trying; it begins with whose key it was."""
        return f"{self._epoch}:{hmac.digest(self._key, asked.same().encode(), hashlib.sha256).hex()}"

    def differ(self, one: str, other: str) -> bool:
        """Whether two prints are of different requests; of another master key nobody knows."""
        return one.partition(":")[0] == other.partition(":")[0] and not hmac.compare_digest(one, other)


def forget(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload of a job that has been judged."""
    return {name: value for name, value in payload.items() if name != "sealed"}
