"""What tools/check_docs.py finds in a page."""

from pathlib import Path
from typing import Any

import pytest

import doc_pages
from check_docs import Checker

COMMANDS = {
    "up": {"--help", "-c", "--host", "--demo"},
    "check": {"--help", "--json"},
    "keys": {"--help"},
    "keys create": {"--help", "--name"},
    "keys list": {"--help"},
}
SCHEMA: dict[str, Any] = {
    "properties": {
        "server": {"$ref": "#/$defs/Server"},
        "upstreams": {"additionalProperties": {"$ref": "#/$defs/Upstream"}},
        "routes": {"type": "array", "items": {"$ref": "#/$defs/Route"}},
        "plugins": {"additionalProperties": True},
        "policies": {"additionalProperties": {"type": "object"}},
    },
    "$defs": {
        "Server": {"properties": {"port": {}, "limits": {"properties": {"drain": {}}, "additionalProperties": False}}},
        "Upstream": {
            "properties": {"targets": {"items": {"anyOf": [{"type": "string"}, {"properties": {"url": {}}}]}}}
        },
        "Route": {"properties": {"name": {}, "tls": {"anyOf": [{"properties": {"cert": {}}}, {"type": "null"}]}}},
    },
}


def load(path: Path) -> None:
    if "refused" in path.read_text():
        raise ValueError(f"{path}:1: refused")


def complaints(root: Path, text: str) -> list[str]:
    page = root / "page.md"
    page.write_text(text)
    return list(Checker(root, COMMANDS, SCHEMA, {"run", "test"}, load).check(page))


@pytest.mark.parametrize(
    "text",
    [
        "`portico up --demo`, `portico up [-c FILE] [--host]`, `portico check FILE`",
        "`portico keys`, `portico keys create --name N`, portico keys list",
        "```sh\n$ .venv/bin/portico up -c portico.yaml   # not --this\n```",
        "```sh\nportico check portico.yaml | grep --count x\n```",
        "`make run`, `make run test`, `make PYTHON=python3.12`",
        "```python\nportico fly --high\n```",
        "`server.limits.drain`, `server.py`, `portico.yaml`, `routes[].name`, `time.sleep`",
        "`upstreams.users.targets`",
        "```yaml\nserver: {port: 1}\nupstreams: {users: {targets: [a, {url: b}]}}\nplugins: {x: {y: 1}}\n```",
        "```yaml portico.yaml\npolicies: {mine: {anything: {at: all}}}\n```",
        "```yaml compose\nservices: {}\n```",
        "```yaml at=routes[]\nname: users\ntls: {cert: x}\n```",
        "```yaml portico.yaml\nserver: {port: 1}\n```",
        "[out](https://example.org/nowhere) `[code](nowhere.md)`",
        "# One `two`, three\n\n[a](#one-two-three) [b](page.md#one-two-three)",
        "# Twice\n# Twice\n[second](#twice-1)",
    ],
)
def test_what_exists_passes(tmp_path: Path, text: str) -> None:
    assert complaints(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("`portico fly`", "page.md:1: `portico fly` does not exist"),
        ("`portico keys eat`", "page.md:1: `portico keys eat` does not exist"),
        ("`portico keys create -x`", "page.md:1: `portico keys create` has no -x"),
        ("x\n`portico up --hots H`", "page.md:2: `portico up` has no --hots"),
        ("```console\n$ portico check -c x\n```", "page.md:2: `portico check` has no -c"),
        ("```sh\ncd x && .venv/bin/portico fly\n```", "page.md:2: `portico fly` does not exist"),
        ("`make fly`", "page.md:1: the Makefile has no target fly"),
        ("```sh\nmake run fly\n```", "page.md:2: the Makefile has no target fly"),
        ("`server.limits.drian`", "page.md:1: there is no configuration key server.limits.drian"),
        ("`routes[].nam`", "page.md:1: there is no configuration key routes[].nam"),
        ("```yaml\nserver: {prot: 1}\n```", "page.md:1: there is no configuration key server.prot"),
        ("```yaml\nserverr: 1\n```", "page.md:1: there is no configuration key serverr"),
        ("```yaml\nupstreams: {u: {targets: [{ur: b}]}}\n```", "key upstreams.u.targets[0].ur"),
        ("```yaml portico.yaml\nserver: {prot: 1}\n```", "page.md:1: there is no configuration key server.prot"),
        ("```yaml at=routes[]\nnam: users\n```", "page.md:1: there is no configuration key routes[].nam"),
        ("```yaml\na: [\n```", "page.md:1: the block is not YAML"),
        ("```yaml portico.yaml\nserver: refused\n```", "the configuration is refused: portico.yaml:1: refused"),
        ("[x](gone.md)", "page.md:1: the link gone.md leads nowhere"),
        ("[x](#gone)", "page.md:1: the link #gone names no heading of page.md"),
        ("[x]: gone.md", "page.md:1: the link gone.md leads nowhere"),
    ],
)
def test_what_does_not_exist_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    found = complaints(tmp_path, text)
    assert len(found) == 1
    assert complaint in found[0]


def test_a_fence_ends_at_its_own_mark(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("````md\n```sh\nportico fly\n```\n````\n`after`\n")
    read = doc_pages.read(page)
    assert [(block.info, block.text) for block in read.blocks] == [("md", "```sh\nportico fly\n```\n")]
    assert read.spans == [(6, "after")]
