"""${ENV_VAR} and ${file:PATH}, and that what they bring is never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portico.config import Settings, compile_snapshot, load_file
from portico.config.substitute import typed
from portico.errors import ConfigError

from .conftest import BASE, Read, Refused

SECRET = "hunter2-and-more"


def test_a_whole_value_is_typed_as_its_setting_needs(read: Read) -> None:
    env = {"PORT": "9000", "YES": "true", "BODY": "1MiB", "LEVEL": "error", "COUNT": "12"}
    settings = read(
        """
        server: {port: "${PORT}", limits: {body_bytes: "${BODY}", connections: "${COUNT}"}}
        log:
          level: ${LEVEL}
        upstreams: {"u": {targets: [{url: "http://127.0.0.1:${PORT}", weight: "${COUNT}"}]}}
        keys: [{id: "${COUNT}", sha256: "abababababababababababababababababababababababababababababababab"}]
        plugins: {own: {count: "${COUNT}", flag: "${YES}", text: "n-${COUNT}"}}
        """,
        env=env,
    )
    assert settings.server.port == 9000
    assert settings.server.limits.body_bytes == 2**20
    assert settings.server.limits.connections == 12
    assert settings.log.level == "error"
    assert settings.upstreams["u"].targets[0].plain().port == 9000
    assert settings.keys[0].id == "12"
    assert settings.plugins["own"].config == {"count": 12, "flag": True, "text": "n-12"}


def test_files_are_beside_the_configuration(read: Read, tmp_path: Path) -> None:
    (tmp_path / "level.txt").write_text("debug\r\n")
    assert read("log: {level: '${file:level.txt}'}").log.level == "debug"
    assert read(f"log: {{level: '${{file:{tmp_path}/level.txt}}'}}").log.level == "debug"


def test_escapes(read: Read) -> None:
    config = (
        read("plugins: {own: {a: '$${HOME}', b: 'x $ y', c: '$$', d: 'a${X}$${b}'}}", env={"X": "1"})
        .plugins["own"]
        .config
    )
    assert config == {"a": "${HOME}", "b": "x $ y", "c": "$$", "d": "a1${b}"}


def test_substituted_text_is_never_structure(read: Read) -> None:
    assert read("plugins: {own: {a: '${X}'}}", env={"X": "{b: [1, ${X}]}"}).plugins["own"].config == {
        "a": "{b: [1, ${X}]}"
    }


def test_what_is_missing_is_named(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    text = """\
        log:
          level: ${LEVEL}
          format: ${file:gone.txt}
        server:
          host: ${file:binary}
          port: ${file:large}
          workers: ${not a name}
          trusted_proxies: ["${", "${A:-b}"]
        """
    unreadable = "has a ${…} that can't be read; write ${NAME}, ${file:PATH}, or $${ for a plain ${"
    assert refused(text) == [
        "portico.yaml:2: log.level: needs the environment variable LEVEL, which is not set",
        "portico.yaml:3: log.format: needs the file 'gone.txt', which can't be read: No such file or directory",
        "portico.yaml:5: server.host: needs the file 'binary', which is not UTF-8 text",
        "portico.yaml:6: server.port: needs the file 'large', which is larger than 64 KiB",
        f"portico.yaml:7: server.workers: {unreadable}",
        f"portico.yaml:8: server.trusted_proxies[0]: {unreadable}",
        f"portico.yaml:8: server.trusted_proxies[1]: {unreadable}",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "server: {port: '${S}'}",
        "server: {host: 'a b ${S}'}",
        "server: {trusted_proxies: ['${S}'], limits: {drain: '${S}', body_bytes: '${S}'}}",
        "log: {level: '${S}'}",
        "keys: [{id: a, sha256: '${S}', permissions: ['${S}', 'a b']}]",
        "upstreams: {a: {targets: ['http://${S}@h', '${S}'], balance: '${S}', health: {path: '${S}'}}}",
        "routes: [{name: 'a/${S}', paths: ['${S}'], upstream: '${S}', auth: '${S}'}]",
        "routes: [{name: a, paths: [/a], upstream: a, limits: [{rate: '${S}', by: '${S}'}]}]",
        "routes: [{name: a, paths: [/a], upstream: '${S}'}]",
        "routes: [{name: '${S}', paths: [/a], upstream: a}, {name: '${S}', paths: [/a], upstream: a}]",
        "routes: [{name: a, paths: [/a], upstream: a, auth: ['${S}'], require: ['${S}']}]",
        "routes: '${S}'",
        "server: '${S}'",
        "'${S}': 1",
    ],
)
def test_no_message_shows_a_substituted_value(refused: Refused, line: str) -> None:
    for problem in refused(line, env={"S": SECRET}):
        assert SECRET not in problem


def test_a_plugin_that_repeats_a_secret_is_masked(read: Read) -> None:
    from portico.config import PolicyKind

    def validate(config: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"token {config['token']} is too short")

    settings = read(BASE + "    policies: {guard: {token: '${S}'}}\n", env={"S": SECRET})
    kinds = {"guard": PolicyKind(60, 10, "guard:build", validate)}
    with pytest.raises(ConfigError, match=r"routes\[0\].policies.guard: token \*\*\* is too short$"):
        compile_snapshot(settings, version=1, plugin_policies=kinds)


def test_settings_do_not_show_their_values(read: Read) -> None:
    settings = read("plugins: {own: {token: '${S}'}}", env={"S": SECRET})
    assert SECRET not in repr(settings) + str(settings) + repr(settings.plugins["own"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("yes", "yes"),
        ("12", 12),
        ("-3", -3),
        ("0x10", "0x10"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        ("1e9999", "1e9999"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_plain_words_are_typed_as_yaml_1_2_does(text: str, value: object) -> None:
    assert typed(text) == value
    assert type(typed(text)) is type(value)


def test_quoted_values_stay_text(refused: Refused) -> None:
    assert refused('server: {port: "80"}') == ["portico.yaml:1: server.port: must be a whole number from 0 to 65535"]


def test_data_dir(read: Read, tmp_path: Path) -> None:
    load: Callable[..., Settings] = read
    assert load("{}", env={"HOME": "/home/x"}).data_dir == "/home/x/.portico"
    assert load("data_dir: ~", env={"HOME": "/home/x"}, overrides={"data_dir": "~"}).data_dir == "/home/x"
    assert load("data_dir: data").data_dir == str(tmp_path / "data")
    assert load("data_dir: /var/lib/portico").data_dir == "/var/lib/portico"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "portico.yaml").write_text("data_dir: data")
    assert load_file("sub/portico.yaml", env={}).data_dir == str(tmp_path / "sub" / "data")
    assert load_file("sub/portico.yaml", {"data_dir": "data"}, {}).data_dir == str(tmp_path / "data")
