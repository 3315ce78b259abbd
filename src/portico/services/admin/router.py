"""The routes of `admin`."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response

from portico.identity.principal import Principal
from portico.services import callers, inputs
from portico.services.admin import schemas
from portico.services.admin.service import Admin
from portico.services.callers import needs
from portico.services.document import refusals
from portico.services.values import Cursor, Id, Limit, Tenant
from portico.services.views import IssuedKey, KeyView, Page, PersonView, Rotate, Rotated, issued, key_view, person_view

KEYS: Final = "/api/v1/admin/keys"
USERS: Final = "/api/v1/admin/users"
INVITATIONS: Final = "/api/v1/admin/invitations"
TAKEN: Final = refusals({409: "It does not fit what is there"})

KeysReader = Annotated[Principal, Depends(needs("keys:read"))]
KeysWriter = Annotated[Principal, Depends(needs("keys:write"))]
UsersReader = Annotated[Principal, Depends(needs("users:read"))]
UsersWriter = Annotated[Principal, Depends(needs("users:write"))]


def build(admin: Admin) -> APIRouter:
    """A router over `admin`."""
    router = inputs.router("admin")
    _keys(router, admin)
    _key(router, admin)
    _users(router, admin)
    _invitations(router, admin)
    return router


def _keys(router: APIRouter, admin: Admin) -> None:
    @router.get(KEYS, summary="API keys, oldest first")
    async def keys(caller: KeysReader, tenant: Tenant = None, after: Cursor = None, limit: Limit = 50) -> Page[KeyView]:
        found, following = await admin.keys.list(tenant=callers.scope(caller, tenant), after=after, limit=limit)
        return Page(items=[key_view(record) for record in found], next_cursor=following)

    @router.post(KEYS, status_code=201, summary="Issue an API key")
    async def issue(caller: KeysWriter, body: schemas.NewKey) -> IssuedKey:
        return issued(*await admin.issue(caller, body))


def _key(router: APIRouter, admin: Admin) -> None:
    @router.get(KEYS + "/{id}", summary="An API key, without the key")
    async def key(caller: KeysReader, name: Id) -> KeyView:
        return key_view(await admin.key(caller, name))

    @router.delete(KEYS + "/{id}", status_code=204, response_class=Response, summary="Revoke an API key")
    async def revoke(caller: KeysWriter, name: Id) -> None:
        await admin.revoke(caller, name)

    @router.post(KEYS + "/{id}/rotate", responses=TAKEN, summary="Replace an API key")
    async def rotate(caller: KeysWriter, name: Id, body: Rotate | None = None) -> Rotated:
        record, new, end = await admin.rotate(caller, name, (body or Rotate()).grace_seconds)
        return Rotated(**issued(record, new).model_dump(), old_key_expires_at=end)


def _users(router: APIRouter, admin: Admin) -> None:
    @router.get(USERS, summary="People, oldest first")
    async def people(
        caller: UsersReader, tenant: Tenant = None, after: Cursor = None, limit: Limit = 50
    ) -> Page[PersonView]:
        found, following = await admin.people.list(tenant=callers.scope(caller, tenant), after=after, limit=limit)
        return Page(items=[person_view(person) for person in found], next_cursor=following)

    @router.post(USERS, status_code=201, responses=TAKEN, summary="Create a person")
    async def create(caller: UsersWriter, body: schemas.NewPerson) -> PersonView:
        return person_view(await admin.create(caller, body))

    @router.get(USERS + "/{id}", summary="A person")
    async def person(caller: UsersReader, name: Id) -> PersonView:
        return person_view(await admin.person(caller, name))

    @router.patch(
        USERS + "/{id}", responses=TAKEN, summary="Change a person's name, roles or password, or disable them"
    )
    async def change(caller: UsersWriter, name: Id, body: schemas.PersonChange) -> PersonView:
        return person_view(await admin.change(caller, name, body))


def _invitations(router: APIRouter, admin: Admin) -> None:
    @router.post(INVITATIONS, status_code=201, summary="Invite somebody to register")
    async def invite(caller: UsersWriter, body: schemas.NewInvitation) -> schemas.Invitation:
        made, token = await admin.invite(caller, body)
        return schemas.Invitation(
            id=made.id,
            token=token,
            email=made.email or None,
            roles=list(made.roles),
            permissions=list(made.permissions),
            tenant=made.tenant,
            expires_at=made.expires_at,
        )
