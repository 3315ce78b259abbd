"""What is kept of webhooks: endpoints and their secrets, deliveries and their attempts."""

from portico.storage.webhooks.deliveries import Deliveries
from portico.storage.webhooks.endpoints import Endpoints
from portico.storage.webhooks.numbers import Fared, Numbers, numbers
from portico.storage.webhooks.records import Attempt, Delivery, Due, Endpoint, Result, Target
from portico.storage.webhooks.results import Results
from portico.storage.webhooks.secrets import Secrets

__all__ = [
    "Attempt",
    "Deliveries",
    "Delivery",
    "Due",
    "Endpoint",
    "Endpoints",
    "Fared",
    "Numbers",
    "Result",
    "Results",
    "Secrets",
    "Target",
    "numbers",
]
