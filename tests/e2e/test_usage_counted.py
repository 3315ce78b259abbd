"""Real requests, through the edge and its spool, as administrators and callers see them."""

from __future__ import annotations

import secrets
from typing import Any

from tests.e2e.api import Api, within

SOON = 15.0  # seconds; as a rule it takes two


def test_requests_are_told_to_the_right_key_and_tenant(api: Api) -> None:
    sides = []
    for many in (7, 4):
        tenant = f"t-{secrets.token_hex(4)}"
        key, reader = api.key(tenant=tenant), api.key("usage:read", "stats:read", tenant=tenant)["key"]
        for _ in range(many):
            assert api.call("GET", "/api/v1/auth/profile", key["key"])[0] == 200
        assert api.call("GET", "/api/v1/admin/keys", key["key"])[0] == 403
        sides.append((tenant, key, reader, many + 1))
    for tenant, key, reader, many in sides:

        def usage(target: str = f"/admin/usage/{key['id']}", reader: str = reader) -> Any:
            return api.good("GET", target, reader)

        within(SOON, lambda many=many, usage=usage: usage()["totals"]["requests"] == many)
        totals = usage()["totals"]
        assert (totals["errors"], totals["client_errors"]) == (1, 1)
        assert totals["bytes_out"] > 0
        assert 0 < totals["p50"] <= totals["p99"]
        stats = usage("/admin/stats")
        assert stats["tenant"] == tenant
        assert (key["id"], many) in [(each["key_id"], each["requests"]) for each in stats["top_keys"]]
        assert stats["refusals"]["403"] == 1
        recent = usage(f"/api/v1/admin/requests?key={key['id']}&status=4xx")["items"]
        assert [(each["path"], each["code"]) for each in recent] == [("/api/v1/admin/keys", "permission_missing")]
        assert api.good("GET", "/api/v1/auth/profile", key["key"])["usage"]["requests_today"] >= many
