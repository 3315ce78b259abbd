"""The vault: the one secret that opens everything which Portico keeps, and the keys that come from it."""

from portico.storage.vault.vault import LABELS, Vault

__all__ = ["LABELS", "Vault"]
