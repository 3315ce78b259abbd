"""What `portico status` shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.runtime import status


def test_a_look_at_the_hot_modules_holds_for_a_while(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PORTICO_COMPILED_DIR", str(tmp_path))
    monkeypatch.setenv("PORTICO_COMPILED", "0")
    monkeypatch.setattr(status, "LOOKED", 3600.0)
    hot = status.Hot()
    assert hot.look() == (False, "interpreted: PORTICO_COMPILED=0")
    monkeypatch.setenv("PORTICO_COMPILED", "auto")
    assert hot.look() == (False, "interpreted: PORTICO_COMPILED=0")
    assert status.Hot().look() == (False, "interpreted: nothing has been compiled")
