"""Who may ask for verdicts."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from portico.identity.principal import Principal
from portico.services.callers import needs

User = Annotated[Principal, Depends(needs("detect:use"))]
