"""The keys of issuers, from real servers: taken when they are good, kept when the server is not."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.e2e.edge.pki import Authority
from tests.unit.outbound.peers import OPERATOR, Peer, peer, plain, started
from tests.unit.state.stores import run, until

from portico import contracts
from portico.services.auth import remotekeys
from portico.services.auth.issuers import Issuers
from portico.services.auth.remotekeys import freshness

SECRET = "0123456789abcdef0123456789abcdef"


def number(value: int, size: int | None = None) -> str:
    data = value.to_bytes(size or (value.bit_length() + 7) // 8, "big")
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def rsa_key(kid: str, bits: int = 2048, **members: Any) -> dict[str, Any]:
    public = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return {"kty": "RSA", "kid": kid, "alg": "RS256", "n": number(public.n), "e": "AQAB", **members}


def ec_key(kid: str, **members: Any) -> dict[str, Any]:
    public = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    return {"kty": "EC", "kid": kid, "crv": "P-256", "x": number(public.x, 32), "y": number(public.y, 32), **members}


RSA = rsa_key("r1")
EC = ec_key("e1")


class Own:
    """Our own keys, as the database would give them."""

    def __init__(self) -> None:
        self.keys: list[Mapping[str, Any]] = [
            {"kty": "OKP", "crv": "Ed25519", "kid": "o1", "alg": "EdDSA", "x": "11qYAYKxCrfVS", "d": "nWGxne_9Wm"}
        ]

    async def verifying(self) -> Sequence[Mapping[str, Any]]:
        return self.keys


class Provider:
    """An identity provider: documents by path, which may be replaced while it runs."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.delay = 0.0

    async def __call__(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.delay)
        path = head.split(b" ")[1].decode()
        writer.write(self.documents.get(path, plain(b"", "404 Not Found")))

    def publish(self, *keys: Any, path: str = "/keys", fields: tuple[str, ...] = ()) -> None:
        self.documents[path] = plain(json.dumps({"keys": keys}).encode(), "200 OK", *fields)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotekeys, "BOUNDS", replace(remotekeys.BOUNDS, total=1.6))


def remote(server: Peer, **changes: Any) -> contracts.Issuer:
    values: dict[str, Any] = {"jwks": f"{server.url}/keys", "issuer": "https://idp.example"}
    return contracts.Issuer("idp", audience="api", **{"algorithms": ("RS256", "ES256"), **values, **changes})


def identity(*accept: contracts.Issuer, algorithm: str = "EdDSA") -> contracts.Identity:
    return contracts.Identity(tokens=contracts.Tokens(algorithm=algorithm, accept=accept))


@asynccontextmanager
async def issuers(spec: contracts.Identity, floor: float = 0.05, own: Own | None = None) -> AsyncIterator[Issuers]:
    async with started(OPERATOR) as client:
        made = Issuers(client, spec, own or Own(), floor)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()
            await made.stop()


def kids(made: Issuers, at: int = 1) -> list[str]:
    return [key["kid"] for key in made.snapshot()[at]["keys"]]


def test_what_the_edges_are_told() -> None:
    async def scene() -> None:
        provider = Provider()
        provider.publish({**RSA, "x5c": ["MIIB"], "use": "sig", "more": 1}, EC)
        async with peer(provider) as server:
            shared = contracts.Issuer("supabase", "https://s.example", "authenticated", ("HS256",), secret=SECRET)
            wanted = remote(
                server, leeway=5.0, roles=("viewer",), roles_claim="app.roles", tenant="t", tenant_claim="org"
            )
            async with issuers(identity(shared, wanted)) as made:
                own, first, second = made.snapshot()
                assert own == {
                    "name": "portico",
                    "issuer": "portico",
                    "audience": "portico",
                    "algorithms": ["EdDSA"],
                    "leeway": 30.0,
                    "roles": [],
                    "roles_claim": "roles",
                    "tenant": "default",
                    "tenant_claim": "tenant",
                    "own": True,
                    "keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "o1", "alg": "EdDSA", "x": "11qYAYKxCrfVS"}],
                }
                k = urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
                assert (first["keys"], first["own"], first["roles"]) == ([{"kty": "oct", "k": k}], False, ["user"])
                assert second == {
                    "name": "idp",
                    "issuer": "https://idp.example",
                    "audience": "api",
                    "algorithms": ["RS256", "ES256"],
                    "leeway": 5.0,
                    "roles": ["viewer"],
                    "roles_claim": "app.roles",
                    "tenant": "t",
                    "tenant_claim": "org",
                    "own": False,
                    "keys": [RSA, EC],
                }
                assert json.loads(json.dumps(made.snapshot())) == made.snapshot()

    run(scene())


def test_our_own_keys_are_told_when_they_change_and_only_those_of_our_algorithm() -> None:
    async def scene() -> None:
        own, told = Own(), [0]
        async with issuers(identity(), own=own) as made:
            end = made.on_change(lambda: told.__setitem__(0, told[0] + 1))
            await made.reload_own()
            assert told == [0]
            own.keys.append({"kty": "OKP", "crv": "Ed25519", "kid": "o2", "alg": "EdDSA", "x": "A", "d": "B"})
            own.keys.append({"kty": "oct", "kid": "h1", "alg": "HS256", "k": "AAAA"})
            await made.refresh("portico")
            assert told == [1]
            assert kids(made, 0) == ["o1", "o2"]
            assert all(key.keys() == {"kty", "crv", "kid", "alg", "x"} for key in made.snapshot()[0]["keys"])
            await made.update(identity(algorithm="HS256"))
            assert made.snapshot()[0]["keys"] == [{"kty": "oct", "kid": "h1", "alg": "HS256", "k": "AAAA"}]
            end()
            end()

    run(scene())


def test_rotation_is_seen_when_someone_asks() -> None:
    async def scene() -> None:
        provider, told = Provider(), [0]
        provider.publish(RSA)
        async with peer(provider) as server, issuers(identity(remote(server)), floor=0.3) as made:
            made.on_change(lambda: told.__setitem__(0, told[0] + 1))
            assert kids(made) == ["r1"]
            provider.publish(EC, RSA)
            await asyncio.gather(*(made.refresh("idp") for _ in range(50)), made.refresh("nobody"))
            assert kids(made) == ["r1"], "not twice within the floor"
            assert len(server.heads) == 1
            await asyncio.sleep(0.3)
            await asyncio.gather(*(made.refresh("idp") for _ in range(50)))
            assert kids(made) == ["e1", "r1"]
            assert (len(server.heads), told) == (2, [1])
            await asyncio.sleep(0.3)
            await made.refresh("idp")
            assert (len(server.heads), told) == (3, [1]), "the same set is no change"

    run(scene())


def test_rotation_is_seen_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotekeys, "SHORTEST", 0.1)

    async def scene() -> None:
        provider = Provider()
        provider.publish(RSA, fields=("Cache-Control: max-age=0",))
        async with peer(provider) as server, issuers(identity(remote(server))) as made:
            provider.publish(EC, fields=("Cache-Control: no-cache",))
            await until(lambda: kids(made) == ["e1"], 3)
            provider.publish(RSA, fields=("Cache-Control: max-age=300",))
            await until(lambda: kids(made) == ["r1"], 3)
            asked = len(server.heads)
            await asyncio.sleep(0.4)
            assert len(server.heads) == asked

    run(scene())


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("", 300),
        ("public, max-age=900", 900),
        ("max-age=1", 60),
        ('Max-Age="600"', 600),
        ("max-age=999999", 3600),
        ("max-age=99999999999999999999", 3600),
        ("no-store", 60),
        ("no-cache, max-age=900", 60),
        ("s-maxage=900", 300),
        ("max-age=x", 300),
        ("x-max-age=900", 300),
    ],
)
def test_how_long_a_set_is_fresh(field: str, seconds: float) -> None:
    assert freshness(field) == seconds


def _bad_documents() -> dict[str, bytes]:
    good = json.dumps({"keys": [EC]}).encode()
    return {
        "error": plain(good, "500 Internal Server Error"),
        "redirect": plain(b"", "302 Found", "Location: /elsewhere"),
        "empty": plain(b""),
        "html": plain(b"<html>sign in</html>"),
        "list": plain(b"[]"),
        "null": plain(b"null"),
        "no keys": plain(b'{"keys": []}'),
        "keys no list": plain(b'{"keys": {"a": 1}}'),
        "keys no objects": plain(b'{"keys": [1, null, "x", []]}'),
        "not UTF-8": plain(b'{"keys": ["\xff\xfe"]}'),
        "deep": plain(b"[" * 100_000),
        "half": plain(good)[:-5].replace(b"Content-Length: ", b"Content-Length: 9"),
        "20 MB": plain(b" " * 20_000_000 + good),
        "bomb": plain(gzip.compress(b" " * 20_000_000 + good), "200 OK", "Content-Encoding: gzip"),
        "51 keys": plain(json.dumps({"keys": [EC] * 51}).encode()),
        "no HTTP": b"hello\r\n\r\n",
    }


@pytest.mark.parametrize("what", list(_bad_documents()))
def test_a_bad_answer_leaves_the_last_good_keys(what: str) -> None:
    async def scene() -> None:
        provider = Provider()
        provider.publish(RSA)
        provider.documents["/elsewhere"] = plain(json.dumps({"keys": [EC]}).encode())
        async with peer(provider) as server, issuers(identity(remote(server))) as made:
            provider.documents["/keys"] = _bad_documents()[what]
            await asyncio.sleep(0.06)
            await made.refresh("idp")
            await until(lambda: made.reports()[0].error != "")
            assert kids(made) == ["r1"]
            report = made.reports()[0]
            assert "127.0.0.1" not in report.error
            assert (report.name, report.keys) == ("idp", 1)
            assert abs(report.fetched_at - time.time()) < 30
            provider.publish(EC)
            await until(lambda: kids(made) == ["e1"], 5)
            assert made.reports()[0].error == ""

    run(scene())


def _on_no_curve() -> dict[str, Any]:
    return {**EC, "kid": "bad", "y": EC["x"]}


BAD_KEYS: dict[str, Any] = {
    "secret": {"kty": "oct", "kid": "bad", "k": "c2VjcmV0", "alg": "HS256"},
    "private RSA": {**RSA, "kid": "bad", "d": "AQAB"},
    "private EC": {**EC, "kid": "bad", "d": EC["x"]},
    "for encryption": {**RSA, "kid": "bad", "use": "enc"},
    "operations": {**RSA, "kid": "bad", "key_ops": ["encrypt"]},
    "operations no list": {**RSA, "kid": "bad", "key_ops": "verify"},
    "algorithm not allowed": {**RSA, "kid": "bad", "alg": "RS512"},
    "algorithm of another kind": {**RSA, "kid": "bad", "alg": "ES256"},
    "algorithm none": {**RSA, "kid": "bad", "alg": "none"},
    "algorithm a list": {**RSA, "kid": "bad", "alg": ["RS256"]},
    "kind unknown": {**RSA, "kid": "bad", "kty": "XYZ"},
    "kind a list": {**RSA, "kid": "bad", "kty": ["RSA"]},
    "RSA of 1024 bits": rsa_key("bad", 1024),
    "RSA too large": {**RSA, "kid": "bad", "n": number((1 << 16_384) + 1)},
    "RSA even": {**RSA, "kid": "bad", "n": number(1 << 2047)},
    "exponent 1": {**RSA, "kid": "bad", "e": "AQ"},
    "exponent even": {**RSA, "kid": "bad", "e": "AQAA"},
    "exponent huge": {**RSA, "kid": "bad", "e": RSA["n"]},
    "no modulus": {"kty": "RSA", "kid": "bad", "e": "AQAB"},
    "modulus a number": {**RSA, "kid": "bad", "n": 5},
    "not base64url": {**RSA, "kid": "bad", "n": RSA["n"][:-1] + "!"},
    "not on the curve": _on_no_curve(),
    "coordinate too short": {**EC, "kid": "bad", "x": "AQAB"},
    "curve unknown": {**EC, "kid": "bad", "crv": "secp256k1"},
    "curve not allowed": {**EC, "kid": "bad", "crv": "P-384"},
    "curve a list": {**EC, "kid": "bad", "crv": ["P-256"]},
    "point of order": {"kty": "OKP", "kid": "bad", "crv": "Ed25519", "x": "AAAA"},
    "EdDSA not allowed": {"kty": "OKP", "kid": "bad", "crv": "Ed25519", "x": number(1, 32)},
    "X25519": {"kty": "OKP", "kid": "bad", "crv": "X25519", "x": number(9, 32)},
    "kid a number": {**RSA, "kid": 7},
    "kid too long": {**RSA, "kid": "k" * 1000},
}


@pytest.mark.parametrize("what", list(BAD_KEYS))
def test_a_key_that_does_not_fit_is_passed_over(what: str) -> None:
    async def scene() -> None:
        provider = Provider()
        provider.publish(BAD_KEYS[what], RSA)
        async with peer(provider) as server, issuers(identity(remote(server))) as made:
            assert kids(made) == ["r1"]
            assert made.reports()[0].error == ""

    run(scene())


def test_the_first_of_two_keys_with_one_name_counts() -> None:
    async def scene() -> None:
        provider = Provider()
        provider.publish(RSA, {**rsa_key("r1")}, {**EC, "kid": "r1"})
        async with peer(provider) as server, issuers(identity(remote(server))) as made:
            assert made.snapshot()[1]["keys"] == [RSA, {**EC, "kid": "r1"}]

    run(scene())


def test_an_outage_and_its_end() -> None:
    async def scene() -> None:
        provider = Provider()
        provider.publish(RSA)
        async with peer(provider) as server:
            port = server.port
        began = time.monotonic()
        async with issuers(identity(remote(server))) as made:
            assert time.monotonic() - began < 1.5
            assert kids(made) == []
            assert made.reports()[0].error
            back = await asyncio.start_server(server.serve, "127.0.0.1", port)
            await until(lambda: kids(made) == ["r1"], 10)
            back.close()
            await asyncio.sleep(0.1)
            await made.refresh("idp")
            assert kids(made) == ["r1"]

    run(scene())


def test_a_slow_provider_delays_a_start_by_a_second_at_most() -> None:
    async def scene() -> None:
        provider = Provider()
        provider.publish(RSA)
        provider.delay = 1.5
        async with peer(provider) as server:
            began = time.monotonic()
            async with issuers(identity(remote(server))) as made:
                assert 0.9 < time.monotonic() - began < 1.4
                assert kids(made) == []
                await until(lambda: kids(made) == ["r1"], 5)
                provider.publish(EC)
                began = time.monotonic()
                await made.refresh("idp")
                assert 0.9 < time.monotonic() - began < 1.4, "nor does who asks wait longer"
                await until(lambda: kids(made) == ["e1"], 5)

    run(scene())


def _discovery(server: Peer, **changes: Any) -> bytes:
    document = {"issuer": server.url, "jwks_uri": f"{server.url}/keys", "extra": [1], **changes}
    return plain(json.dumps({name: value for name, value in document.items() if value is not None}).encode())


@pytest.mark.parametrize("slash", ["", "/"])
def test_discovery(slash: str) -> None:
    async def scene() -> None:
        provider = Provider()
        provider.publish(RSA)
        async with peer(provider) as server:
            base = server.url + slash
            provider.documents["/.well-known/openid-configuration"] = _discovery(server, issuer=base)
            spec = remote(server, jwks="", discovery=base, issuer=base)
            async with issuers(identity(spec)) as made:
                assert kids(made) == ["r1"]

    run(scene())


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"issuer": 7},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://169.254.169.254/keys"},
        {"jwks_uri": "http://user:pw@127.0.0.1/keys"},
        {"jwks_uri": "/keys"},
    ],
)
def test_discovery_that_is_not_believed(changes: dict[str, Any]) -> None:
    async def scene() -> None:
        provider = Provider()
        provider.publish(RSA)
        async with peer(provider) as server:
            provider.documents["/.well-known/openid-configuration"] = _discovery(server, **changes)
            spec = remote(server, jwks="", discovery=server.url, issuer=server.url)
            async with issuers(identity(spec)) as made:
                assert kids(made) == []
                assert made.reports()[0].error
                assert not any(head.startswith(b"GET /keys") for head in server.heads)

    run(scene())


def test_https_is_verified(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("idp", "IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def scene() -> None:
        provider = Provider()
        provider.publish(RSA)
        async with peer(provider, context) as server:
            spec = identity(remote(server, jwks=f"https://127.0.0.1:{server.port}/keys"))
            trusting = ssl.create_default_context(cafile=str(authority.cert))
            async with started(OPERATOR, tls=trusting) as client:
                made = Issuers(client, spec, Own())
                await made.start()
                assert kids(made) == ["r1"]
                await made.stop()
            async with started(OPERATOR) as client:
                made = Issuers(client, spec, Own())
                await made.start()
                assert kids(made) == []
                assert "TLS" in made.reports()[0].error
                await made.stop()

    run(scene())


def test_a_reload_keeps_what_stays() -> None:
    async def scene() -> None:
        provider = Provider()
        provider.publish(RSA)
        provider.publish(EC, path="/other")
        async with peer(provider) as server:
            first = remote(server)
            second = contracts.Issuer("second", "https://2.example", "api", ("ES256",), jwks=f"{server.url}/other")
            async with issuers(identity(first)) as made:
                told = [0]
                made.on_change(lambda: told.__setitem__(0, told[0] + 1))
                await made.update(identity(first, second))
                assert kids(made) == ["r1"]
                await until(lambda: kids(made, 2) == ["e1"])
                asked = len(server.heads)
                await made.update(identity(second))
                assert [each["name"] for each in made.snapshot()] == ["portico", "second"]
                assert kids(made) == ["e1"]
                assert len(server.heads) == asked
                assert told[0] >= 3
                await made.update(identity(second))
                await made.refresh("idp")
                assert len(server.heads) == asked

    run(scene())
