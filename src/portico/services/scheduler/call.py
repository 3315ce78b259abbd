"""Jobs of the kind `http.call`: a request to an address, made when a schedule says so."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from portico.errors import AddressRefused, GiveUp, JobError, RetryLater
from portico.jobs import Backoff, Handler, Job
from portico.outbound import Bounds, Client
from portico.services.values import Body

KIND: Final = "http.call"
PURPOSE: Final = "schedule"
KEPT: Final = 2048  # bytes of the answer's body that stay in the result
BOUNDS: Final = Bounds(total=30.0, body=1024 * 1024)
BACKOFF: Final = Backoff((5.0, 60.0, 300.0))
TRY_AGAIN: Final = (408, 425, 429)  # of 4xx, those that may come right by themselves

Header = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$", max_length=1024)]


class Call(Body):
    """What `http.call` takes."""

    url: str = Field(pattern=r"^https?://[\x21-\x7e]+$", max_length=2048)
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", max_length=64)], Header] = Field(
        default_factory=dict, max_length=20
    )
    body: Any = Field(default=None, description="Sent as JSON; none with GET")


class Caller:
    """Makes the calls."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def handler(self) -> Handler:
        """Of `http.call`."""
        return Handler(
            KIND, self.run, backoff=BACKOFF, timeout=60.0, accepts=accept, summary="calls an address: url, method, body"
        )

    async def run(self, job: Job) -> dict[str, Any]:
        """2xx is success. Other answers of 4xx are final, but for those that say to come back."""
        call = Call(**job.payload)
        body = None if call.body is None else json.dumps(call.body).encode()
        headers = {"User-Agent": "Portico", "Idempotency-Key": job.id, **call.headers}
        if body is not None:
            headers = {"Content-Type": "application/json", **headers}
        try:
            answer = await self._client.request(
                call.method, call.url, headers=headers, body=body, bounds=BOUNDS, purpose=PURPOSE
            )
        except AddressRefused as error:
            raise GiveUp(str(error)) from None
        if 200 <= answer.status < 300:
            return {"status": answer.status, "body": answer.body[:KEPT].decode("utf-8", "replace")}
        if 400 <= answer.status < 500 and answer.status not in TRY_AGAIN:
            raise GiveUp(f"the answer was {answer.status}")
        after = answer.header("retry-after")
        if after.isascii() and after.isdigit() and len(after) < 6:
            raise RetryLater(f"the answer was {answer.status}", float(after))
        raise JobError(f"the answer was {answer.status}")


def accept(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload as it is kept; ValueError when it can't be."""
    return Call(**payload).model_dump()
