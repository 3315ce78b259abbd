"""`allow`, `deny`: client networks."""

from __future__ import annotations

from pydantic import Field

from portico.config.base import Several, Strict
from portico.config.grammar import Network
from portico.contracts import ADMIT, Policy


class Access(Strict):
    """Who may come, by address. `deny` wins; a list in `allow` means only those."""

    allow: Several[Network] = Field(default_factory=list, description="Client networks let in; empty: all")
    deny: Several[Network] = Field(default_factory=list, description="Client networks kept out, also when allowed")

    def access(self) -> Policy | None:
        """Its plain form: {"allow": [CIDR], "deny": [CIDR]}."""
        if not self.allow and not self.deny:
            return None
        config = {"allow": list(self.allow), "deny": list(self.deny)}
        return Policy("access", ADMIT, 10, "portico.edge.policies.access:build", config)
