"""The routes of `webhooks`."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response

from portico.services import inputs
from portico.services.callers import Caller
from portico.services.document import refusals
from portico.services.values import Cursor, Id, Limit
from portico.services.views import Page
from portico.services.webhooks import schemas
from portico.services.webhooks.service import Hooks
from portico.services.webhooks.views import delivery_view, endpoint_fields, tried, webhook_view

BASE: Final = "/api/v1/webhooks"
TAKEN: Final = refusals({409: "It does not fit what is there"})


def build(hooks: Hooks) -> APIRouter:
    """A router over `hooks`."""
    router = inputs.router("webhooks")
    _register(router, hooks)
    _test(router, hooks)
    _one(router, hooks)
    _deliveries(router, hooks)
    _default(router, hooks)
    return router


def _register(router: APIRouter, hooks: Hooks) -> None:
    @router.post(BASE + "/register", status_code=201, responses=TAKEN, summary="Be told of events at a URL")
    async def register(caller: Caller, body: schemas.NewWebhook) -> schemas.Registered:
        made, secret = await hooks.register(caller, body)
        return schemas.Registered(**endpoint_fields(made), secret=secret)

    @router.get(BASE + "/list", summary="The caller's webhooks, oldest first, and how they do")
    async def webhooks(caller: Caller, after: Cursor = None, limit: Limit = 50) -> Page[schemas.WebhookView]:
        found, following = await hooks.page(caller, after, limit)
        return Page(items=[webhook_view(each) for each in found], next_cursor=following)


def _test(router: APIRouter, hooks: Hooks) -> None:
    @router.post(BASE + "/test", summary="Send a signed test message, and see what comes back")
    async def test(caller: Caller, body: schemas.Test) -> schemas.Tested:
        if body.url is not None:
            called = await hooks.test_url(caller, body.url)
            return schemas.Tested(delivered=called.succeeded, delivery_id=None, attempt=tried(called))
        made, called = await hooks.test(caller, body.id or "")
        return schemas.Tested(delivered=called.succeeded, delivery_id=made, attempt=tried(called))


def _one(router: APIRouter, hooks: Hooks) -> None:
    @router.delete(BASE + "/{id}", status_code=204, response_class=Response, summary="Remove a webhook")
    async def remove(caller: Caller, name: Id) -> None:
        await hooks.remove(caller, name)

    @router.post(BASE + "/{id}/enable", summary="Send to a webhook again that was disabled")
    async def enable(caller: Caller, name: Id) -> schemas.WebhookView:
        return webhook_view(await hooks.enable(caller, name))

    @router.post(BASE + "/{id}/rotate-secret", summary="Replace the secret of a webhook")
    async def rotate(caller: Caller, name: Id, body: schemas.RotateSecret | None = None) -> schemas.NewSecret:
        secret, until = await hooks.rotate(caller, name, (body or schemas.RotateSecret()).grace_seconds)
        return schemas.NewSecret(secret=secret, old_secret_expires_at=until)


def _deliveries(router: APIRouter, hooks: Hooks) -> None:
    @router.get(BASE + "/{id}/deliveries", summary="What was sent to a webhook, newest first, with every attempt")
    async def deliveries(
        caller: Caller, name: Id, after: Cursor = None, limit: schemas.Few = 20
    ) -> Page[schemas.DeliveryView]:
        found, following = await hooks.history(caller, name, after, limit)
        return Page(items=[delivery_view(each) for each in found], next_cursor=following)

    @router.post(
        BASE + "/deliveries/{id}/replay",
        status_code=202,
        responses=TAKEN,
        summary="Send a delivery again that has ended",
    )
    async def replay(caller: Caller, name: Id) -> schemas.Replayed:
        await hooks.replay(caller, name)
        return schemas.Replayed(id=name, state="pending")


def _default(router: APIRouter, hooks: Hooks) -> None:
    @router.get(BASE + "/default-secret", summary="Whether there is a secret for URLs that single requests name")
    async def default(caller: Caller) -> schemas.DefaultSecret:
        return schemas.DefaultSecret(created_at=await hooks.default_since(caller))

    @router.post(BASE + "/default-secret", summary="Make or replace the secret for URLs that single requests name")
    async def rotate(caller: Caller, body: schemas.RotateSecret | None = None) -> schemas.NewSecret:
        secret, until = await hooks.rotate_default(caller, (body or schemas.RotateSecret()).grace_seconds)
        return schemas.NewSecret(secret=secret, old_secret_expires_at=until)
