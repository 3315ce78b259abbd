"""`tracing`: where spans go, and of how many requests."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Final

from pydantic import Field

from portico import contracts
from portico.config.base import Named, Strict
from portico.config.scalars import Name, Ratio, Text, Truth, pattern, service
from portico.config.substitute import Finding

PATH: Final = "/v1/traces"  # OTLP/HTTP 1.x: below the collector's address
NEEDED: Final = ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
FIELD: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}"  # RFC 9110 5.6.2


Field_ = Annotated[str, pattern(FIELD, "the name of a header field")]


class Tracing(Strict):
    """Spans by OTLP over HTTP; without this section there are none."""

    endpoint: Annotated[str, service("a collector's address such as http://collector:4318")] = Field(
        description="The collector's OTLP/HTTP address; /v1/traces is added unless it ends so"
    )
    sample: Ratio = Field(default=0.01, description="Share of requests that are traced, when nobody has decided before")
    trust: Truth = Field(
        default=False, description="Whether a caller's traceparent decides that its request is traced, or not"
    )
    headers: Named[Field_, Text] = Field(
        default_factory=dict, description="Header fields for the collector, such as its key"
    )
    service_name: Name = Field(
        default="portico", description="Begins the names under which spans appear: NAME-edge, NAME-services"
    )

    def check(self) -> Iterator[Finding]:
        if not all(_found(name) for name in NEEDED):
            yield (), "needs OpenTelemetry, which is not installed: pip install 'portico[tracing]'"
        for name, value in self.headers.items():
            if not value.isascii() or value != value.strip():
                yield ("headers", name), "must be ASCII text without space around it"

    def plain(self) -> contracts.Tracing:
        """With the whole address."""
        address = self.endpoint.rstrip("/")
        endpoint = address if address.endswith(PATH) else address + PATH
        return contracts.Tracing(endpoint, self.sample, self.trust, dict(self.headers), self.service_name)


def _found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False
