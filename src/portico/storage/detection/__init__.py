"""What is kept of detection: texts that a person is to decide."""

from portico.storage.detection.records import AlreadyDecided, Decision, Doubt, Put, Review, Wanted
from portico.storage.detection.reviews import Reviews

__all__ = ["AlreadyDecided", "Decision", "Doubt", "Put", "Review", "Reviews", "Wanted"]
