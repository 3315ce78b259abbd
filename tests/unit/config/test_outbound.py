"""`outbound` in portico.yaml."""

from __future__ import annotations

import pytest

from portico import contracts
from portico.errors import ConfigError

from .conftest import Read


def test_lists_are_read_as_networks_and_names(read: Read) -> None:
    text = "outbound: {allow: [10.1.2.3/8, 127.0.0.1, '::1', Example.COM, '*.corp.example'], deny: [10.0.0.0/16]}"
    found = read(text).outbound.plain()
    allow = ("10.0.0.0/8", "127.0.0.1/32", "::1/128", "example.com", "*.corp.example")
    assert found == contracts.Outbound("public", allow, ("10.0.0.0/16",), "")


def test_a_proxy_may_have_credentials_and_they_are_not_shown(read: Read) -> None:
    found = read("outbound: {proxy: 'http://user:secret@proxy.example:3128'}").outbound
    assert found.plain().proxy == "http://user:secret@proxy.example:3128"
    assert "secret" not in repr(found)
    assert "secret" not in repr(found.plain())


@pytest.mark.parametrize(
    "text",
    [
        "{mode: open}", "{allow: ['*']}", "{allow: ['a b']}", "{allow: [10.0.0]}", "{allow: ['0x7f.1']}",
        "{allow: ['http://example.com']}", "{allow: ['example.com:80']}", "{deny: [10.0.0.0/99]}", "{allow: ['a..b']}",
        "{proxy: 'https://proxy.example:1'}", "{proxy: 'http://proxy.example'}", "{proxy: 'proxy:3128'}",
        "{proxy: 'http://proxy.example:1/path'}", "{mode: none, allow: [10.0.0.0/8]}", "{unknown: 1}",
    ],
)  # fmt: skip
def test_what_can_t_be_is_refused(read: Read, text: str) -> None:
    with pytest.raises(ConfigError):
        read(f"outbound: {text}")


def test_none_goes_with_no_issuer_whose_keys_must_be_fetched(read: Read) -> None:
    issuer = "{name: i, issuer: 'https://i.example', audience: a, %s}"
    accept = "outbound: {mode: none}\ntokens: {accept: [%s]}"
    with pytest.raises(ConfigError, match=r"outbound\.mode none"):
        read(accept % (issuer % "jwks: 'https://i.example/keys'"))
    assert read(accept % (issuer % "secret: 0123456789abcdef0123456789abcdef")).outbound.mode == "none"
