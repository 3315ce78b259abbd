"""The public test kit: a real gateway, a real upstream, and the conformance suite for plugins."""

from portico.testing.client import Answer, IncompleteAnswer, Reader
from portico.testing.harness import GatewayHarness, free_port
from portico.testing.upstream import Connection, FakeUpstream, Request, response, wait_for

__all__ = [
    "Answer",
    "Connection",
    "FakeUpstream",
    "GatewayHarness",
    "IncompleteAnswer",
    "Reader",
    "Request",
    "free_port",
    "response",
    "wait_for",
]
