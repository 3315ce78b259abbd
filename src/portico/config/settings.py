"""The whole of portico.yaml as one model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, PrivateAttr

from portico import contracts
from portico.config.base import Named, Several, Strict
from portico.config.detection import Detection
from portico.config.grammar import Permission
from portico.config.identity import BUILT_IN, Certificate, Identity, Registration, Roles, Tokens, plain
from portico.config.jobs import Jobs
from portico.config.outbound import Outbound
from portico.config.places import Places
from portico.config.routes import Layer, Route
from portico.config.scalars import Name, Text, Truth, pattern
from portico.config.server import Log, Server
from portico.config.storage import Audit, Backups, State, Storage, Usage
from portico.config.substitute import Finding, untangled
from portico.config.tracing import Tracing
from portico.config.upstreams import Upstream
from portico.errors import Problem

ALWAYS: Final = frozenset({"access", "api_keys", "headers", "limits", "request_id"})  # the plugins of the route's keys


class Key(Strict):
    """A static API key: its hash, never the key."""

    id: Name = Field(description="Its name in logs, metrics and limits")
    sha256: Annotated[str, pattern("[0-9a-fA-F]{64}", "the key's SHA-256 as 64 hex digits")] = Field(
        description="SHA-256 of the key, 64 hex digits"
    )
    permissions: Several[Permission] = Field(
        default_factory=list, description="users:read, users:*, or * for everything; empty: nothing that needs one"
    )
    tenant: Name = Field(default="default", description="Whom it belongs to")

    def plain(self) -> contracts.Key:
        return contracts.Key(self.id, self.sha256.lower(), tuple(self.permissions), self.tenant)


class Layers(Strict):
    """Policies for the services' own paths."""

    public: Layer = Field(default_factory=Layer, description="Paths that need no credentials")
    app: Layer = Field(default_factory=Layer, description="Paths for applications and people")
    mcp: Layer = Field(default_factory=Layer, description="Paths for agents")
    admin: Layer = Field(default_factory=Layer, description="Paths for administrators")


class Plugin(Strict):
    """One plugin: `enabled`, and whatever its own model takes."""

    model_config = ConfigDict(extra="allow")

    enabled: Truth = Field(default=True, description="false leaves the plugin out, also one that is started by default")

    @property
    def config(self) -> dict[str, Any]:
        """Its own configuration, not yet checked."""
        return untangled(self.model_extra or {})  # type: ignore[no-any-return]


class Settings(Strict):
    """Everything that portico.yaml says, checked."""

    server: Server = Field(default_factory=Server, description="Where and how Portico listens")
    data_dir: Text = Field(default="~/.portico", description="Folder for what Portico keeps; ~ is your home")
    log: Log = Field(default_factory=Log, description="Logging")
    upstreams: Named[Name, Upstream] = Field(default_factory=dict, description="Name → a service behind Portico")
    keys: Several[Key] = Field(default_factory=list, description="Static API keys, as hashes")
    routes: Several[Route] = Field(default_factory=list, description="Which request goes where")
    layers: Layers = Field(default_factory=Layers, description="Policies for Portico's own paths")
    storage: Storage = Field(default_factory=Storage, description="The database")
    backups: Backups = Field(default_factory=Backups, description="Encrypted copies of the database")
    usage: Usage = Field(default_factory=Usage, description="How long what is counted of requests is kept")
    audit: Audit = Field(default_factory=Audit, description="Who did what")
    state: State = Field(default_factory=State, description="What processes share")
    tracing: Tracing | None = Field(default=None, description="Spans of requests (OpenTelemetry)")
    jobs: Jobs = Field(default_factory=Jobs, description="Work in the background")
    outbound: Outbound = Field(default_factory=Outbound, description="Whom Portico itself may call")
    detection: Detection = Field(default_factory=Detection, description="Prompt-injection detection")
    registration: Registration = Field(
        default="closed", description="Who may register for an API key: closed, token (an invitation), open"
    )
    tokens: Tokens = Field(default_factory=Tokens, description="Tokens (JWT)")
    roles: Roles = Field(default_factory=dict, description="Role → the permissions that it grants")
    certificates: Several[Certificate] = Field(default_factory=list, description="Whom client certificates stand for")
    identity: Identity = Field(
        default_factory=Identity, description="What is believed of callers while the services are away"
    )
    plugins: Named[Name, Plugin] = Field(
        default_factory=dict, description="Plugin id → its configuration, enabled: true"
    )

    _places: Places = PrivateAttr(default_factory=Places)

    def check(self) -> Iterator[Finding]:
        if self.data_dir.startswith("~") and self.data_dir[1:2] not in ("", "/"):
            yield ("data_dir",), "may begin with ~/ for your home; another user's needs its whole path"
        for id_, plugin in self.plugins.items():
            if not plugin.enabled and id_ in ALWAYS:
                yield ("plugins", id_, "enabled"), "must be true: keys of routes are its work; leave those keys out"
        yield from self._unknown_roles()
        yield from self._uncallable()

    def _unknown_roles(self) -> Iterator[Finding]:
        known = {*BUILT_IN, *self.roles}
        users: list[tuple[str | int, list[str]]] = [(index, each.roles) for index, each in enumerate(self.certificates)]
        for index, names in users:
            for at, name in enumerate(names):
                if name not in known:
                    yield ("certificates", index, "roles", at), f"is no role; there are: {', '.join(sorted(known))}"
        for index, issuer in enumerate(self.tokens.accept):
            for at, name in enumerate(issuer.roles):
                if name not in known:
                    path = ("tokens", "accept", index, "roles", at)
                    yield path, f"is no role; there are: {', '.join(sorted(known))}"

    def _uncallable(self) -> Iterator[Finding]:
        if self.outbound.mode == "none":
            for index, issuer in enumerate(self.tokens.accept):
                if issuer.secret is None:
                    message = "publishes its keys, and outbound.mode none forbids to fetch them; share a secret instead"
                    yield ("tokens", "accept", index), message
            for index, _ in enumerate(self.detection.engines):
                yield ("detection", "engines", index), "is called by Portico, and outbound.mode none forbids that"

    @property
    def plain_identity(self) -> contracts.Identity:
        """Who may call, as the snapshot has it."""
        return plain(self.registration, self.tokens, self.roles, self.certificates, self.identity)

    @property
    def source(self) -> str:
        """The name of the document it was read from, as messages show it."""
        return self._places.name

    @property
    def version(self) -> str:
        """Changes whenever the document's text does."""
        return self._places.version

    @property
    def folder(self) -> Path:
        """What relative paths are relative to."""
        return self._places.folder

    def problem(self, path: tuple[str | int, ...], message: str) -> Problem:
        """A problem at `path`, with its file and line, for what is found out later than at loading."""
        return self._places.problem(path, message)

    def place(self, places: Places) -> None:
        """Remember where each setting stands; once, after loading."""
        self._places = places
