"""Reads configurations written in tests, as `portico.yaml` in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from portico.config import Settings, load_file
from portico.errors import ConfigError

BASE = """
upstreams: {users: {targets: ["http://127.0.0.1:9000"]}}
routes:
  - name: users
    paths: [/users/*]
    upstream: users
"""

Read = Callable[..., Settings]
Refused = Callable[..., list[str]]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Settings of a text; `env` is empty unless given."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, overrides: dict[str, Any] | None = None, env: dict[str, str] | None = None) -> Settings:
        Path("portico.yaml").write_text(dedent(text), encoding="utf-8")
        return load_file("portico.yaml", overrides, env or {})

    return run


@pytest.fixture
def refused(read: Read) -> Refused:
    """The problems of a text, as they are printed."""

    def run(text: str, overrides: dict[str, Any] | None = None, env: dict[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, overrides, env)
        return [str(problem) for problem in caught.value.problems]

    return run
