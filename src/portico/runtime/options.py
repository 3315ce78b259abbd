"""What `portico up` was told on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

EDGE: Final = "edge"
SERVICES: Final = "services"
ECHO: Final = "echo"
ROLES: Final = ("all", EDGE, SERVICES)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """None means: as the configuration says, which these override, also at every reload."""

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    workers: int | None = None
    role: str = "all"
    data_dir: Path | None = None
    demo: bool = False
    as_json: bool = False  # the summary as one line of JSON

    @property
    def overrides(self) -> dict[str, Any]:
        """Dotted configuration path → value."""
        values = {
            "server.host": self.host,
            "server.port": self.port,
            "server.workers": self.workers,
            "data_dir": str(self.data_dir) if self.data_dir is not None else None,
        }
        return {path: value for path, value in values.items() if value is not None}

    def runs(self, role: str) -> bool:
        """Whether this gateway has processes of `role`."""
        return self.role in ("all", role)
