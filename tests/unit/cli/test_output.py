"""How commands print."""

from __future__ import annotations

import json

import pytest

from portico.cli import exits, output
from portico.errors import AlreadyRunning, ConfigError, ControlError, NotRunning, PluginError, Problem, StartError


def test_a_table_is_as_wide_as_it_needs_to_be() -> None:
    assert output.table(("a", "name"), [(1, "x"), (22, ""), ("", "long one")]) == [
        "a   name",
        "1   x",
        "22  -",
        "-   long one",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86399, "23 h"), (200000, "2 d")],
)
def test_durations(seconds: float, text: str) -> None:
    assert output.duration(seconds) == text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError([]), 3),
        (NotRunning("x"), 4),
        (AlreadyRunning("x"), 5),
        (StartError("x"), 1),
        (PluginError("x"), 1),
        (ControlError("x"), 1),
    ],
)
def test_codes(error: Exception, code: int) -> None:
    assert exits.code_of(error) == code  # type: ignore[arg-type]


def test_an_error_is_a_sentence_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    output.tell(StartError("127.0.0.1:80 is in use", "choose another --port"), as_json=False)
    captured = capsys.readouterr()
    assert captured.err == "portico: 127.0.0.1:80 is in use\nhint: choose another --port\n"
    assert captured.out == ""


def test_an_error_without_a_hint_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    output.tell(PluginError("no"), as_json=False)
    assert capsys.readouterr().err == "portico: no\n"


def test_an_error_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.tell(ConfigError([Problem("f", 1, "a.b", "is wrong")]), as_json=True)
    captured = capsys.readouterr()
    assert captured.err == ""
    told = json.loads(captured.out)
    assert told["code"] == 3
    assert told["problems"] == [{"file": "f", "line": 1, "path": "a.b", "message": "is wrong"}]
