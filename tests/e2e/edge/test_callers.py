"""Who calls, through a real gateway: keys and tokens made, used and revoked, while processes come and go."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import pytest
from tests.e2e.api import BEHIND_PROXY, Api, somewhere, within

from portico.identity.apikeys import generate
from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Answer, Reader, request_bytes
from portico.testing.upstream import wait_for

from .pki import Authority, connect, files

SECRET = "a secret that is shared with an issuer, of 32 bytes and more"


def config(upstream: FakeUpstream, **more: Any) -> dict[str, Any]:
    def route(name: str, **policies: Any) -> dict[str, Any]:
        return {"name": name, "paths": [f"/{name}/*"], "upstream": "up", **policies}

    return {
        "server": BEHIND_PROXY,
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": [
            route("keyed", auth=["api_key", "jwt"]),
            route("tokens", auth=["jwt"]),
            route("readers", auth=["api_key", "jwt"], require=["orders:read"]),
        ],
        "roles": {"clerk": ["orders:*"]},
        "tokens": {
            "accept": [
                {"name": "base", "preset": "supabase", "secret": SECRET, "audience": "authenticated",
                 "issuer": "https://base.example", "roles_claim": "app_metadata.roles"},
            ],
        },
        **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def shared(mode: bool, shared_upstream: FakeUpstream) -> Iterator[GatewayHarness]:
    with GatewayHarness(config(shared_upstream), compiled=mode) as gateway:
        yield gateway


@pytest.fixture
def api(shared: GatewayHarness, upstream: FakeUpstream) -> Api:
    return Api(shared, somewhere())


def use(api: Api, who: str, path: str = "/keyed/x", method: str = "GET") -> str:
    """ "" when the request was let through, else the code."""
    answer = api.send(method, path, who)
    return "" if answer.status == 200 else str(answer.json()["code"])


def pids(gateway: GatewayHarness, role: str) -> list[int]:
    return [each["pid"] for each in gateway.status()["processes"] if each["role"] == role]


@contextmanager
def paused(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_key_works_as_soon_as_it_is_made_and_not_a_second_after_it_is_revoked(api: Api) -> None:
    for _ in range(10):
        made = api.key("orders:read")
        assert use(api, made["key"]) == ""
        assert use(api, made["key"], "/readers/x") == ""
        api.call("DELETE", f"/api/v1/admin/keys/{made['id']}", api.admin)
        assert within(1.0, lambda key=made["key"]: use(api, key) == "credentials_unknown") < 1.0  # type: ignore[misc]


def test_unknown_and_revoked_look_alike(api: Api) -> None:
    made = api.key()
    api.call("DELETE", f"/api/v1/admin/keys/{made['id']}", api.admin)
    within(1.0, lambda: use(api, made["key"]) != "")

    def shown(key: str) -> tuple[Any, ...]:
        answer = api.send("GET", "/keyed/x", key)
        told = answer.json()
        told.pop("request_id")
        return answer.status, told, answer.header("WWW-Authenticate")

    assert shown(made["key"]) == shown(generate()) == shown("pk_nonsense")


def test_the_upstream_sees_no_credential_and_the_log_the_principal(
    api: Api, shared: GatewayHarness, upstream: FakeUpstream
) -> None:
    made = api.key("orders:read")
    assert api.gateway.request("GET", "/keyed/seen", {"X-API-Key": made["key"]}).status == 200
    (seen,) = [each for each in upstream.requests if each.target == "/keyed/seen"]
    assert seen.header("X-API-Key") is None
    assert seen.header("Authorization") is None
    wait_for(lambda: any(line["path"] == "/keyed/seen" for line in shared.access_log()))
    (line,) = [line for line in shared.access_log() if line["path"] == "/keyed/seen"]
    assert line["principal"] == made["id"]


def test_a_rotated_key_has_its_grace_and_no_more(api: Api) -> None:
    made = api.key()
    assert use(api, made["key"]) == ""
    new = api.good("POST", f"/api/v1/admin/keys/{made['id']}/rotate", api.admin, {"grace_seconds": 2})
    assert [use(api, made["key"]), use(api, new["key"])] == ["", ""]
    within(3.5, lambda: use(api, made["key"]) == "credentials_unknown")
    assert use(api, new["key"]) == ""


def test_networks_of_a_key(api: Api) -> None:
    made = api.key(networks=[f"{api.address}/32"])
    assert use(api, made["key"]) == ""
    elsewhere = Api(api.gateway, somewhere())
    assert use(elsewhere, made["key"]) == "address_not_allowed"


def test_a_person_s_token_and_its_end(api: Api) -> None:
    person = api.person(("clerk",))
    first, second = (api.login(person["email"])["access_token"] for _ in range(2))
    assert [use(api, token, "/readers/x") for token in (first, second)] == ["", ""]
    assert use(api, api.token(("user",)), "/readers/x") == "permission_missing"
    api.good("POST", "/api/v1/auth/logout", first)
    within(1.0, lambda: use(api, first) == "token_revoked")
    assert use(api, second) == ""
    api.good("PATCH", f"/api/v1/admin/users/{person['id']}", api.admin, {"disabled": True})
    within(1.0, lambda: use(api, second) == "token_revoked")


def base(**claims: Any) -> str:
    now = int(time.time())
    says = {"iss": "https://base.example", "aud": "authenticated", "sub": "u1", "iat": now, "exp": now + 600, **claims}
    return jwt.encode(says, SECRET, "HS256")


def test_an_identity_provider_s_token(api: Api, upstream: FakeUpstream) -> None:
    assert use(api, base(), "/tokens/x") == ""
    assert use(api, base(), "/readers/x") == "permission_missing"
    assert use(api, base(app_metadata={"roles": ["clerk"]}), "/readers/x") == ""
    assert use(api, base(role="admin", roles=["admin"], permissions=["*"]), "/readers/x") == "permission_missing"
    assert use(api, base(exp=1), "/tokens/x") == "token_expired"
    assert use(api, base(aud="other"), "/tokens/x") == "token_audience"
    assert use(api, base() + "x", "/tokens/x") in ("token_signature", "token_malformed")
    assert use(api, api.key()["key"], "/tokens/x") == "token_malformed"
    assert api.call("GET", "/api/v1/admin/users", base(app_metadata={"roles": ["admin"]}))[0] == 200


def test_metrics_and_health_take_any_credential(api: Api) -> None:
    reader = api.key("metrics:read", "health:read")["key"]
    use(api, base(), "/tokens/x")
    text = api.send("GET", "/metrics", reader).body.decode()
    hits, misses = (count(text, f"portico_token_cache_{name}_total") for name in ("hits", "misses"))
    assert misses >= 1
    token = base(jti="again")
    for _ in range(5):
        use(api, token, "/tokens/x")
    text = api.send("GET", "/metrics", reader).body.decode()
    assert count(text, "portico_token_cache_hits_total") >= hits + 4
    assert "parts" in api.good("GET", "/health", reader)
    assert "parts" not in api.good("GET", "/health")
    assert "parts" not in api.good("GET", "/health", "pk_wrong")
    assert "parts" not in api.good("GET", "/health", base())
    assert use(api, api.key()["key"], "/metrics") == "permission_missing"


def count(text: str, name: str) -> float:
    return float(next(line for line in text.splitlines() if line.startswith(name + " ")).split()[1])


def test_wrong_keys_are_slowed_by_address_and_right_ones_pass(api: Api) -> None:
    right = api.key()["key"]
    codes = [use(api, "pk_wrong") for _ in range(25)]
    assert codes == ["credentials_unknown"] * 20 + ["too_many_failures"] * 5
    answer = api.send("GET", "/keyed/x", generate())
    assert (answer.status, 0 < int(answer.header("Retry-After") or 0) <= 60) == (429, True)
    assert use(api, right) == ""
    assert use(Api(api.gateway, somewhere()), "pk_wrong") == "credentials_unknown"


def test_the_session_cookie_counts_on_our_own_paths_with_our_own_origin(api: Api, shared: GatewayHarness) -> None:
    token = api.token(("admin",))
    host = f"127.0.0.1:{shared.port}"

    def ask(method: str, path: str, **fields: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        fields = {"Cookie": f"portico_session={token}", **named}
        return api.send(method, path, None, {} if method != "GET" else None, fields)

    assert ask("GET", "/api/v1/auth/profile").status == 200
    assert ask("GET", "/keyed/x").json()["code"] == "credentials_missing"
    for origin in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": f"https://{host}"}):
        answer = ask("PATCH", "/api/v1/auth/profile", **origin)
        assert (answer.status, answer.json()["code"]) == (403, "origin_refused")
    assert ask("PATCH", "/api/v1/auth/profile", Origin=f"http://{host}").status not in (401, 403)


def test_explain_shows_which_grant_of_which_role_allowed(api: Api, shared: GatewayHarness) -> None:
    token = base(app_metadata={"roles": ["clerk"]})
    assert use(api, token, "/readers/x") == ""
    done = shared.cli("explain", "GET", "/readers/x", "-H", f"Authorization: Bearer {token}", "--live")
    assert "passes: the caller is person base:u1 of tenant default, roles user, clerk" in done.stdout
    assert "passes: orders:read is covered by the grant orders:* of the role clerk" in done.stdout
    assert token not in done.stdout
    refused = shared.cli("explain", "GET", "/readers/x", "-H", f"X-API-Key: {api.admin}x", "--live")
    assert "401 credentials_unknown" in refused.stdout
    key = api.key("orders:list")["key"]
    assert use(api, key) == ""
    refused = shared.cli("explain", "GET", "/readers/x", "-H", f"X-API-Key: {key}", "--live")
    assert "orders:read is covered by no grant; the caller has: orders:list" in refused.stdout
    assert key not in refused.stdout
    for unknown in (f"X-API-Key: {key}", f"Authorization: Bearer {token}"):  # nobody is asked without --live
        done = shared.cli("explain", "GET", "/readers/x", "-H", unknown, "-c", str(shared.config_path))
        assert "not asked: its peek needs time" in done.stdout
        assert "not certain" in done.stdout


# -- processes that come and go


@pytest.fixture
def own(upstream: FakeUpstream) -> Iterator[Callable[..., Api]]:
    """A gateway of the test's own."""
    made: list[GatewayHarness] = []

    def start(**more: Any) -> Api:
        gateway = GatewayHarness(config(upstream, **more))
        made.append(gateway)
        gateway.__enter__()
        return Api(gateway, somewhere())

    yield start
    for gateway in made:
        gateway.__exit__(None, None, None)


def test_an_edge_that_was_paused_refuses_before_its_first_answer(own: Callable[..., Api]) -> None:
    api = own()
    key, person = api.key(), api.person()
    token = api.login(person["email"])["access_token"]
    (edge,) = pids(api.gateway, "edge")
    with api.gateway.connect() as first, api.gateway.connect() as second:
        for sock, who in ((first, key["key"]), (second, token)):
            assert asked(sock, who).status == 200
        with paused(edge):
            first.sendall(head(key["key"]))
            second.sendall(head(token))
            done = api.gateway.cli("keys", "revoke", key["id"], "--data-dir", str(api.gateway.data_dir))
            assert done.returncode == 0, done.stdout + done.stderr
            done = api.gateway.cli("people", "disable", person["email"], "--data-dir", str(api.gateway.data_dir))
            assert done.returncode == 0, done.stdout + done.stderr
            time.sleep(2.0)  # what was heard before is older than a second
        assert [Reader(sock).answer().json()["code"] for sock in (first, second)] == [
            "credentials_unknown", "token_revoked",
        ]  # fmt: skip


def head(who: str) -> bytes:
    return request_bytes("GET", "/keyed/x", "gate", {"Authorization": f"Bearer {who}", "Connection": "keep-alive"})


def asked(sock: Any, who: str) -> Answer:
    sock.sendall(head(who))
    return Reader(sock).answer()


def test_services_that_are_killed_and_come_back(own: Callable[..., Api]) -> None:
    api = own()
    known, unknown = api.key()["key"], api.key()["key"]
    token = api.token()
    assert [use(api, known), use(api, token)] == ["", ""]
    (services,) = pids(api.gateway, "services")
    os.kill(services, signal.SIGKILL)
    seen = set()
    began = time.monotonic()
    while "" not in seen:
        assert [use(api, known), use(api, token)] == ["", ""]
        at = time.monotonic()
        seen.add(use(api, unknown))
        assert time.monotonic() - at < 1.5
        assert time.monotonic() - began < 20.0
        time.sleep(0.05)
    assert seen <= {"", "identity_unavailable"}


def test_services_that_hang_known_callers_live_for_stale_for(own: Callable[..., Api]) -> None:
    api = own(identity={"stale_for": "3s"})
    known, unknown, token = api.key()["key"], api.key()["key"], api.token()
    assert [use(api, known), use(api, token)] == ["", ""]
    (services,) = pids(api.gateway, "services")
    with paused(services):
        began = time.monotonic()
        assert use(api, unknown) == "identity_unavailable"
        while (elapsed := time.monotonic() - began) < 2.0:
            for credential in (known, token):  # each may wait for the services, in vain
                assert use(api, credential) == "" or time.monotonic() - began > 2.5, elapsed
            time.sleep(0.05)
        within(6.0, lambda: [use(api, known), use(api, token)] == ["identity_unavailable"] * 2)
        assert 2.5 < time.monotonic() - began < 6.0
        assert use(api, "pk_nonsense") == "credentials_unknown"
    within(10.0, lambda: [use(api, each) for each in (known, unknown, token)] == ["", "", ""])


def test_a_reload_changes_what_roles_grant(own: Callable[..., Api], upstream: FakeUpstream) -> None:
    api = own()
    token = base(app_metadata={"roles": ["clerk"]})
    assert use(api, token, "/readers/x") == ""
    api.gateway.rewrite(config(upstream, roles={"clerk": ["orders:write"]}))
    api.gateway.reload()
    assert use(api, token, "/readers/x") == "permission_missing"
    assert use(api, base(app_metadata={"roles": ["clerk"]}), "/readers/x") == "permission_missing"


def test_a_client_certificate(upstream: FakeUpstream, authority: Authority) -> None:
    tls = {**files(authority.issue("gate", "DNS:a.example", "IP:127.0.0.1")), "client_ca": str(authority.cert)}
    settings = config(upstream, server={"tls": {**tls, "client_auth": "optional"}})
    settings["certificates"] = [{"match": {"san": "device-1.local"}, "principal": "device-1", "roles": ["clerk"]}]
    taken = {"auth": ["certificate"], "require": ["orders:read"]}
    settings["routes"].append({"name": "devices", "paths": ["/devices"], "upstream": "up", **taken})
    shown = {
        "device-1": authority.issue("device-1", "DNS:device-1.local"),
        "device-2": authority.issue("device-2", "DNS:device-2.local"),
    }
    with GatewayHarness(settings) as gateway:

        def ask(name: str) -> Answer:
            context = authority.client()
            if name:
                context.load_cert_chain(*shown[name])
            with connect(gateway, context) as sock:
                sock.sendall(request_bytes("GET", "/devices", "a.example"))
                return Reader(sock).answer()

        assert ask("device-1").status == 200
        assert ask("device-2").json()["code"] == "credentials_unknown"
        assert ask("").json()["code"] == "credentials_missing"
        (line,) = [line for line in gateway.access_log(3) if line["status"] == 200]
        assert line["principal"] == "device-1"


def test_a_key_is_kept_to_its_own_limits_on_all_routes_together(api: Api) -> None:
    made = api.key("orders:read", rate_limit_per_minute=4)
    codes = [use(api, made["key"], path) for path in ("/keyed/x", "/readers/x") * 3]
    assert codes == [""] * 4 + ["window_exceeded"] * 2
    answer = api.send("GET", "/keyed/x", made["key"])
    assert (answer.status, int(answer.header("Retry-After") or 0) > 0) == (429, True)
    assert use(api, api.key()["key"]) == ""


def test_a_key_gains_nothing_by_being_rotated(api: Api) -> None:
    made = api.key("orders:read", rate_limit_per_minute=5)
    key, codes = made["key"], []
    for _ in range(3):
        codes += [use(api, key), use(api, key)]
        answer = api.send("POST", "/api/v1/admin/keys/" + made["id"] + "/rotate", api.admin, {"grace_seconds": 60})
        made = answer.json()
        key = made["key"]
    assert codes == [""] * 5 + ["window_exceeded"]
    assert use(api, key) == "window_exceeded"


def test_callers_notice_nothing_of_a_restart(own: Callable[..., Api]) -> None:
    api = own()
    known, token = api.key()["key"], api.token()
    assert [use(api, known), use(api, token)] == ["", ""]
    codes: list[str] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            codes.extend([use(api, known), use(api, token)])

    asking = threading.Thread(target=go_on)
    asking.start()
    try:
        done = api.gateway.cli("restart", "--data-dir", str(api.gateway.data_dir), timeout=60.0)
    finally:
        over.set()
        asking.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(codes) == {""}
    made = api.key()["key"]
    assert use(api, made) == ""
