"""Who did what: records in chains that nobody changes without its being found.

`note` inside the transaction that does it; `acting` around whoever does it.
"""

from __future__ import annotations

from portico.storage.audit.events import OK, REFUSED, Origin, acting, note, operator, present, proved

__all__ = ["OK", "REFUSED", "Origin", "acting", "note", "operator", "present", "proved"]
