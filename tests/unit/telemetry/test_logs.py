"""Application logs: their form, and what never reaches them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from portico.telemetry import logs

KEY = "pk_live_0123456789abcdef"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line_and_its_first_fields() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream, process="edge-0")
    logs.get("portico.test").info("began", port=8771)
    (line,) = lines(stream)
    assert list(line) == ["time", "level", "event", "source", "process", "port"]
    assert line["time"].endswith("Z")
    assert {**line, "time": ""} == {
        "time": "", "level": "info", "event": "began", "source": "portico.test", "process": "edge-0", "port": 8771,
    }  # fmt: skip


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1), ("critical", 0)])
def test_levels(level: str, shown: int) -> None:
    stream = io.StringIO()
    logs.configure(level, "json", stream)
    log = logs.get("x")
    log.debug("a")
    log.info("a")
    log.warning("a")
    log.error("a")
    assert len(lines(stream)) == shown


def test_auto_is_pretty_on_a_terminal_and_json_elsewhere() -> None:
    terminal, file = Terminal(), io.StringIO()
    logs.configure("info", "auto", terminal)
    logs.get("x").info("hello")
    assert "hello" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    logs.configure("info", "auto", file)
    logs.get("x").info("hello")
    assert lines(file)[0]["event"] == "hello"


def test_an_unknown_format_or_level_is_refused() -> None:
    with pytest.raises(ValueError, match="format is one of auto, pretty, json"):
        logs.configure("info", "xml", io.StringIO())
    with pytest.raises(KeyError):
        logs.configure("loud", "json", io.StringIO())


def test_a_logger_made_before_configure_obeys_it() -> None:
    log = logs.get("early")
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    log.info("now")
    assert lines(stream)[0]["source"] == "early"


@pytest.mark.parametrize(
    "name",
    ["password", "db_password", "PASSWD", "passphrase", "client_secret", "access_token", "token", "Authorization",
     "api_key", "apikey", "X-API-Key", "private_key", "Cookie", "set-cookie", "credentials"],
)  # fmt: skip
def test_values_under_a_secret_s_name_are_masked_at_any_depth(name: str) -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    logs.get("x").info(
        "e", **{name: "hidden-value", "outer": {"inner": [{name: "hidden-value"}]}, name + "2": b"hidden-value"}
    )
    assert "hidden-value" not in stream.getvalue()
    assert lines(stream)[0][name] == logs.MASKED


def test_numbers_are_no_secrets() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    logs.get("x").info("e", tokens=600, api_keys=3, secret=None, password=True)
    line = lines(stream)[0]
    assert (line["tokens"], line["api_keys"], line["secret"], line["password"]) == (600, 3, None, True)


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_secrets_in_any_text_are_masked(form: str) -> None:
    stream = io.StringIO()
    logs.configure("info", form, stream)
    log = logs.get("x")
    log.info(f"key {KEY} came")
    log.info("e", url="postgresql://admin:hunter2@db/x", said="Bearer abc.def-ghi_jkl", list=[KEY, {"k": KEY.encode()}])
    try:
        raise ValueError(f"no such key {KEY}")
    except ValueError:
        log.exception("failed")
    text = stream.getvalue()
    for secret in (KEY[3:], "hunter2", "abc.def-ghi_jkl"):
        assert secret not in text
    assert "pk_[masked] came" in text
    assert "postgresql://[masked]@db/x" in text
    assert "no such key pk_[masked]" in text


@given(st.text(max_size=50), st.sampled_from(["", " ", '"', "\n"]), st.integers(0, 20_000))
def test_a_key_anywhere_in_a_long_text_is_not_shown(before: str, mark: str, fill: int) -> None:
    shown = logs.clean("." * fill + before + mark + KEY + " after")
    assert KEY not in shown
    assert len(shown) <= logs.MAX_TEXT + 1
    assert fill > logs.MAX_TEXT or KEY[3:] not in shown


def test_a_body_does_not_get_into_the_log_whole() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    deep: Any = "bottom"
    for _ in range(50):
        deep = [deep]
    logs.get("x").info("e", body="x" * 2_000_000, raw=b"y" * 2_000_000, many=list(range(100_000)), deep=deep)
    assert len(stream.getvalue()) < 3 * logs.MAX_TEXT


@given(
    st.text(),
    st.dictionaries(st.text(min_size=1).filter(lambda key: key not in ("event", "self")), st.text(), max_size=4),
)
def test_every_line_is_one_line_of_json(event: str, fields: dict[str, str]) -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    logs.get("x").bind(**fields).info(event)
    assert stream.getvalue().count("\n") == 1
    assert isinstance(json.loads(stream.getvalue()), dict)


def test_pretty_lets_no_control_characters_through() -> None:
    stream = io.StringIO()
    logs.configure("info", "pretty", stream)
    logs.get("x").info("a\x1b[2Jb\nforged line", path="/\x07\x9b31m\r\n2026 forged")
    assert stream.getvalue().count("\n") == 1
    assert not set(stream.getvalue()) & set("\x1b\x07\x9b\r")


def test_bound_fields_and_libraries_lines() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream, process="services-0")
    with logs.bound(request_id="0199"):
        logs.get("x").info("inside")
        logging.getLogger("some.library").warning("odd %s", KEY)
        logging.getLogger("some.library").debug("never: %s", "body")
    logs.get("x").info("outside")
    inside, library, outside = lines(stream)
    assert inside["request_id"] == library["request_id"] == "0199"
    assert "request_id" not in outside
    assert (library["event"], library["source"], library["level"]) == ("odd pk_[masked]", "some.library", "warning")


def test_a_log_that_can_t_be_written_stops_nobody() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    logs.configure("info", "json", Full())
    logs.get("x").info("lost")
    closed = io.StringIO()
    logs.configure("info", "json", closed)
    closed.close()
    logs.get("x").info("lost")


def test_loads_no_rich() -> None:
    code = (
        "import sys; from portico.telemetry import logs; logs.configure('info', 'pretty', sys.stderr);"
        "logs.get('x').info('e'); print(sorted({name.split('.')[0] for name in sys.modules} & {'rich', 'pygments'}));"
        "import rich; print(rich.__name__)"  # and it can still be imported afterwards
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "rich"]
