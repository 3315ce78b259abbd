"""Remote engines: called in order of preference, left alone while they fail, replaced by the embedded detector."""

from portico.services.detection.engines.pool import Engines

__all__ = ["Engines"]
