"""The client for programs on an event loop (asyncio or trio). The same methods as `Portico`, to be awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

import anyio
import httpx

from portico_client import _calls, _wire, detection, models
from portico_client._calls import Call, Page
from portico_client._retry import Retry
from portico_client._waiting import Waiting
from portico_client.errors import PorticoError, TimedOut

Answer = TypeVar("Answer")


class AsyncPortico:
    """A gateway, as its clients see it: `Portico` for event loops, with the same arguments. Belongs to one loop.

    Lists are asynchronous iterators: `async for key in client.keys.list()`. Here `timeout` bounds the whole of a try.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        token: str | None = None,
        timeout: float = 10.0,
        max_retries: int = 2,
        max_retry_after: float = 30.0,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        self._wire = _wire.Wire(url, api_key, token, timeout)
        self._retry = Retry(max_retries, max_retry_after)
        self._owned = http_client is None
        self._http = http_client or httpx.AsyncClient()
        self.keys = Keys(self)
        self.webhooks = Webhooks(self)

    def __repr__(self) -> str:
        return f"AsyncPortico({self._wire!r})"

    async def __aenter__(self) -> AsyncPortico:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connections."""
        if self._owned:
            await self._http.aclose()

    async def detect(
        self,
        text: str,
        *,
        confidence_threshold: float | None = None,
        include_reasoning: bool = False,
        metadata: Mapping[str, Any] | None = None,
        webhook_url: str | None = None,
        fresh: bool = False,
    ) -> models.Verdict:
        """Whether `text` (1 to 10,000 characters) tries to take over a language model.

        It is malicious from `confidence_threshold` (0.6) on. `include_reasoning` fills `reason`. `metadata` comes back
        as it is. `webhook_url` is told as well. `fresh` wants no answer from a cache.
        """
        return await self.send(
            _calls.detect(text, confidence_threshold, include_reasoning, metadata, webhook_url, fresh)
        )

    async def detect_batch(
        self,
        items: Iterable[detection.BatchItem],
        *,
        webhook_url: str | None = None,
    ) -> detection.Batch:
        """Judge 1 to 100 texts. What goes wrong with one is told among `errors`, and leaves the others alone."""
        return await self.send(_calls.detect_batch(items, webhook_url))

    async def detect_async(
        self,
        text: str,
        *,
        confidence_threshold: float | None = None,
        include_reasoning: bool = False,
        metadata: Mapping[str, Any] | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> detection.Accepted:
        """Judge `text` in the background. The same `idempotency_key` with the same text is the same job."""
        return await self.send(
            _calls.detect_async(text, confidence_threshold, include_reasoning, metadata, webhook_url, idempotency_key)
        )

    async def job(self, job_id: str) -> detection.Job:
        """How far a background job is."""
        return await self.send(_calls.job(job_id))

    async def wait_for_job(self, job_id: str, *, timeout: float = 60.0, poll: float = 0.25) -> models.Verdict:
        """The verdict of a background job, once it is there.

        Asks every `poll` seconds, later less often. JobFailed when it ended without one, JobUnfinished after `timeout`.
        """
        waiting = Waiting(job_id, timeout, poll)
        while True:
            found = await self.job(job_id)
            verdict = waiting.verdict(found)
            if verdict is not None:
                return verdict
            await anyio.sleep(waiting.pause(found))

    async def send(self, call: Call[Answer]) -> Answer:
        """Send a request, again where that is safe."""
        tried = 0
        while True:
            tried += 1
            try:
                return await self._once(call)
            except PorticoError as error:
                pause = self._retry.wait(tried, error, call.repeatable)
                if pause is None:
                    raise
            await anyio.sleep(pause)

    async def _once(self, call: Call[Answer]) -> Answer:
        request = self._wire.request(self._http, call)
        body = bytearray()
        try:
            with anyio.fail_after(self._wire.timeout):
                response = await self._http.send(request, stream=True, follow_redirects=False)
                try:
                    async for chunk in response.aiter_bytes():
                        _wire.more(body, chunk)
                finally:
                    await response.aclose()
        except httpx.HTTPError as error:
            raise _wire.failed(error) from error
        except TimeoutError:
            raise TimedOut("the answer was not whole in time", True) from None
        return _wire.answer(call, response, bytes(body))

    def _use(self, key: str) -> None:
        self._wire.api_key = key


class Keys:
    """API keys: the one that the client uses, and, for administrators, all of the tenant."""

    def __init__(self, client: AsyncPortico) -> None:
        self._client = client

    async def profile(self) -> models.Profile:
        """Who the caller is, what it may and what it has used."""
        return await self._client.send(_calls.profile())

    async def rotate(self, grace_seconds: int = 0) -> models.RotatedKey:
        """Replace the client's own key, which works for `grace_seconds` more. The client goes on with the new one."""
        made = await self._client.send(_calls.rotate_own_key(grace_seconds))
        self._client._use(made.key)
        return made

    async def revoke(self) -> None:
        """End the client's own key."""
        await self._client.send(_calls.revoke_own_key())

    async def create(
        self,
        name: str,
        *,
        permissions: Iterable[str] = (),
        tenant: str | None = None,
        owner: str | None = None,
        rate_limit_per_minute: int | None = None,
        rate_limit_per_day: int | None = None,
        window: str | None = None,
        rate: str | None = None,
        burst: int | None = None,
        networks: Iterable[str] = (),
        expires_in: int | None = None,
    ) -> models.IssuedKey:
        """Issue a key; its `key` is shown this once. `expires_in` is in seconds.

        `window` ("60/minute") or a steady `rate` ("10/second", with `burst`) take the place of the limit per minute.
        """
        given = {
            "permissions": list(permissions), "tenant": tenant, "owner": owner, "networks": list(networks),
            "rate_limit_per_minute": rate_limit_per_minute, "rate_limit_per_day": rate_limit_per_day,
            "window": window, "rate": rate, "burst": burst, "expires_in": expires_in,
        }  # fmt: skip
        return await self._client.send(_calls.create_key(name, given))

    async def get(self, key_id: str) -> models.Key:
        """A key, without the key."""
        return await self._client.send(_calls.key(key_id))

    def list(self, *, tenant: str | None = None, page_size: int | None = None) -> AsyncIterator[models.Key]:
        """The keys, oldest first; pages are fetched as they are needed."""
        return _all(self._client, lambda after: _calls.keys(tenant, page_size, after))

    async def rotate_key(self, key_id: str, grace_seconds: int = 0) -> models.RotatedKey:
        """Replace a key."""
        return await self._client.send(_calls.rotate_key(key_id, grace_seconds))

    async def revoke_key(self, key_id: str) -> None:
        """End a key."""
        await self._client.send(_calls.revoke_key(key_id))


class Webhooks:
    """URLs that are told of events."""

    def __init__(self, client: AsyncPortico) -> None:
        self._client = client

    async def register(
        self,
        url: str,
        *,
        events: Iterable[str] | None = None,
        secret_token: str | None = None,
        retry_count: int | None = None,
    ) -> models.RegisteredWebhook:
        """Be told of events at `url`. The `secret` of the answer is shown this once; `verify_webhook` takes it."""
        chosen = list(events) if events is not None else None
        given = {"events": chosen, "secret_token": secret_token, "retry_count": retry_count}
        return await self._client.send(_calls.register_webhook(url, given))

    def list(self, *, page_size: int | None = None) -> AsyncIterator[models.Webhook]:
        """The caller's webhooks, oldest first; pages are fetched as they are needed."""
        return _all(self._client, lambda after: _calls.webhooks(page_size, after))

    async def test(self, webhook_id: str | None = None, *, url: str | None = None) -> models.WebhookTest:
        """Send a test message to a webhook, or to a URL that is not registered, and see what comes back."""
        return await self._client.send(_calls.test_webhook(webhook_id, url))

    async def delete(self, webhook_id: str) -> None:
        """Remove a webhook."""
        await self._client.send(_calls.delete_webhook(webhook_id))

    async def rotate_secret(self, webhook_id: str, grace_seconds: int | None = None) -> models.NewSecret:
        """Replace the secret; for `grace_seconds` (a day) messages carry a signature of each."""
        return await self._client.send(_calls.rotate_secret(webhook_id, grace_seconds))

    def deliveries(self, webhook_id: str, *, page_size: int | None = None) -> AsyncIterator[models.Delivery]:
        """What was sent, newest first, with every attempt; pages are fetched as they are needed."""
        return _all(self._client, lambda after: _calls.deliveries(webhook_id, page_size, after))

    async def replay(self, delivery_id: str) -> models.Replayed:
        """Send a delivery again that has ended."""
        return await self._client.send(_calls.replay(delivery_id))


async def _all(client: AsyncPortico, page_after: Callable[[str], Call[Page[Answer]]]) -> AsyncIterator[Answer]:
    after = ""
    while True:
        page = await client.send(page_after(after))
        for item in page.items:
            yield item
        if not page.following:
            return
        after = page.following
