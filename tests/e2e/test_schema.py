"""Schemathesis, with every check it has, against our own OpenAPI document over a running gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.api import BEHIND_PROXY, Api, running

from portico.identity.keys import hash_key

HERE = Path(__file__).parent / "schema"
KEY = "the-key-of-the-schema-test"
# A rule between two values, or with what is in the database, can't be told in a schema: here 422 may be the answer to
# what fits it.
RULES = """
[[operations]]
include-path-regex = "^/api/v1/webhooks/(register|test)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429"]

# DELETE /api/v1/webhooks/{id} takes these paths too, with an id that there never is.
[[operations]]
include-path-regex = "^/api/v1/webhooks/(register|test|list|default-secret)$"
checks.allow_header_conformance.enabled = false

[[operations]]
include-path-regex = "^/api/v1/(auth/register|auth/profile|admin/keys|admin/users|admin/users/.id.|admin/invitations)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429"]

# A span of time begins before it ends, and how many points it has depends on its step.
[[operations]]
include-path-regex = "^/api/v1/admin/(stats|usage|requests|usage/.id.)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "422", "429"]

# Threats are for a malicious text only; the note of a decision is held to the characters that all JSON is.
[[operations]]
include-path-regex = "^/api/v1/detect/reviews/.id./decide$"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "422", "429"]

# Metadata and payloads are any JSON object, but of the characters and depth that all of ours is held to.
[[operations]]
include-path-regex = "^/api/v1/(detect(/batch|/async)?|scheduler/tasks|scheduler/tasks/.id.)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "422", "429"]
"""
SESSIONS = "^/api/v1/auth/(sessions|logout|profile)"


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    keys = [{"id": "schema", "sha256": hash_key(KEY), "permissions": ["*"]}]
    quiet = {"mode": "allow_list"}  # webhooks are registered at random
    with running(config={"registration": "open", "keys": keys, "server": BEHIND_PROXY, "outbound": quiet}) as found:
        yield found


def schemathesis(api: Api, folder: Path, who: str, *options: str) -> None:
    """Run it; every failure is shown."""
    (folder / "schemathesis.toml").write_text(RULES)
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(folder / "schemathesis.toml"),
        "run", f"{api.gateway.url}/openapi.json", "--continue-on-failure", "--warnings", "off",
        "--header", f"Authorization: Bearer {who}", *options,
    ]  # fmt: skip
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "schema_hooks", "PYTHONPATH": str(HERE), "NO_COLOR": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1000, env=environment, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]


def test_what_is_sent_at_random_is_answered_as_the_document_says(api: Api, tmp_path: Path) -> None:
    schemathesis(api, tmp_path, KEY, "--phases", "fuzzing", "--max-examples", "4")


def test_the_same_of_what_needs_a_person(api: Api, tmp_path: Path) -> None:
    token = api.gateway.cli(
        "token", "create", "--role", "user", "--ttl", "1h", "-c", str(api.gateway.config_path),
        "--data-dir", str(api.gateway.data_dir), "--json",
    )  # fmt: skip
    import json

    assert token.returncode == 0, token.stderr
    who = json.loads(token.stdout)["token"]
    schemathesis(api, tmp_path, who, "--phases", "fuzzing", "--max-examples", "6", "--include-path-regex", SESSIONS)


@pytest.mark.long
@pytest.mark.timeout(1000)
def test_the_edges_of_every_value_and_many_more_examples(api: Api, tmp_path: Path) -> None:
    schemathesis(api, tmp_path, KEY, "--phases", "coverage,fuzzing,stateful", "--max-examples", "60")
