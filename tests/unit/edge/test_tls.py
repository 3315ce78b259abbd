"""TLS contexts: which certificate a name leads to, what is kept, and what is said of files."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from pathlib import Path

import pytest

from portico.contracts import KeyPair, Target, Tls, Upstream, UpstreamTls
from portico.edge.tls import Contexts, client_context, expiring, reason, server_tls
from portico.errors import TlsError

from ...e2e.edge.pki import Authority, openssl


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def pair_of(authority: Authority, stem: str, *names: str) -> KeyPair:
    cert, key = authority.issue(stem, *names)
    return KeyPair(str(cert), str(key))


def test_names_lead_to_contexts(authority: Authority) -> None:
    first = pair_of(authority, "one", "DNS:One.example", "DNS:both.example")
    second = pair_of(authority, "two", "DNS:*.example", "DNS:both.example", "IP:192.0.2.1")
    made = server_tls(Tls(first.cert, first.key, certificates=(second,)))
    assert sorted(made.names) == ["*.example", "both.example", "one.example"]
    assert made.names["one.example"] is made.names["both.example"] is made.context
    assert made.names["*.example"] is not made.context


def test_the_first_of_the_list_when_there_is_no_other(authority: Authority) -> None:
    only = pair_of(authority, "only", "DNS:only.example")
    assert server_tls(Tls(certificates=(only,))).names.keys() == {"only.example"}


def test_contexts_are_hardened(authority: Authority) -> None:
    pair = pair_of(authority, "hard", "DNS:hard.example")
    for context in (server_tls(Tls(pair.cert, pair.key)).context, client_context(UpstreamTls())):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
    default = client_context(UpstreamTls())
    assert (default.verify_mode, default.check_hostname) == (ssl.CERT_REQUIRED, True)
    weak = [each["name"] for each in server_tls(Tls(pair.cert, pair.key)).context.get_ciphers()]
    assert all(name.startswith(("TLS_", "ECDHE-")) and "CBC" not in name and "SHA1" not in name for name in weak)


def test_contexts_stay_until_a_file_changes(authority: Authority) -> None:
    pair = pair_of(authority, "kept", "DNS:kept.example")
    spec = Tls(pair.cert, pair.key)
    contexts = Contexts()
    made = []
    for _ in range(3):
        contexts.begin()
        made.append(contexts.server(spec))
        contexts.commit()
        if len(made) == 2:
            os.utime(pair.cert, ns=(1, 1))
    assert made[0] is made[1]
    assert made[1] is not made[2]
    assert len(contexts.kept) == 1


def test_a_failed_plan_changes_nothing(authority: Authority) -> None:
    pair = pair_of(authority, "plan", "DNS:plan.example")
    contexts = Contexts()
    contexts.begin()
    made = contexts.server(Tls(pair.cert, pair.key))
    contexts.commit()
    contexts.begin()
    with pytest.raises(TlsError):
        contexts.server(Tls("missing.pem"))
    contexts.begin()
    assert contexts.server(Tls(pair.cert, pair.key)) is made


def test_upstreams_share_a_context_but_not_a_name() -> None:
    target = (Target("https://a:443", "https", "a", 443),)
    contexts = Contexts()
    contexts.begin()
    one = contexts.client(Upstream("one", target))
    two = contexts.client(Upstream("two", target, tls=UpstreamTls(server_name="b")))
    assert one is not None
    assert two is not None
    assert one.context is two.context
    assert (one.name, two.name) == (None, "b")
    assert contexts.client(Upstream("three", (Target("http://a:80", "http", "a", 80),))) is None


def test_what_is_said_of_files(authority: Authority, tmp_path: Path) -> None:
    pair = pair_of(authority, "said", "DNS:said.example")
    locked = tmp_path / "locked.key"
    openssl("ec", "-in", str(pair.key), "-aes256", "-passout", "pass:secret", "-out", locked)
    both = tmp_path / "both.pem"
    both.write_text(Path(str(pair.key)).read_text() + Path(pair.cert).read_text())
    damaged = tmp_path / "damaged.key"
    damaged.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for spec, path, message in (
        (Tls(pair.cert), ("cert",), f"{pair.cert} holds no private key in PEM form"),
        (Tls(pair.cert, str(locked)), ("key",), f"{locked} is encrypted; nobody is there to ask for its passphrase"),
        (Tls(pair.cert, str(tmp_path)), ("key",), f"{tmp_path} can't be read: Is a directory"),
        (
            Tls(certificates=(KeyPair("/nowhere.pem"),)),
            ("certificates", 0, "cert"),
            "/nowhere.pem: there is no such file",
        ),
    ):
        with pytest.raises(TlsError) as caught:
            server_tls(spec)
        assert (caught.value.path, str(caught.value)) == (path, message)
    with pytest.raises(TlsError, match="can't be used"):
        server_tls(Tls(pair.cert, str(damaged)))
    assert server_tls(Tls(str(both))).names.keys() == {"said.example"}


def test_certificates_that_end_soon(authority: Authority) -> None:
    old = KeyPair(*map(str, authority.issue("gone", "DNS:old.example", days=-1)))
    soon = KeyPair(*map(str, authority.issue("soon", "DNS:soon.example", days=10)))
    good = pair_of(authority, "good", "DNS:good.example")
    found = list(expiring(Tls(good.cert, good.key, certificates=(old, soon)), time.time()))
    assert [path for path, _ in found] == [("certificates", 0, "cert"), ("certificates", 1, "cert")]
    assert found[0][1] == f"{old.cert} has expired"
    assert found[1][1].startswith(f"{soon.cert} expires on 20")


def test_reasons_are_words() -> None:
    assert reason(TimeoutError()) == "TimeoutError"
    assert reason(OSError("it broke")) == "it broke"


def test_a_full_house_lets_the_slowest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    from portico.edge import arrivals

    class State:
        def __init__(self) -> None:
            self.tasks: set[object] = set()

    async def run() -> None:
        monkeypatch.setattr(arrivals, "AT_ONCE", 2)
        house = arrivals.Arrivals("main", State(), False)  # type: ignore[arg-type]
        tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(2)]
        now = time.monotonic()
        house.under_way[tasks[0]] = now  # type: ignore[index]
        assert house.room()
        house.under_way[tasks[1]] = now  # type: ignore[index]
        assert not house.room()
        house.under_way[tasks[0]] = now - 2 * arrivals.PATIENCE  # type: ignore[index]
        assert house.room()
        await asyncio.sleep(0)
        assert [task.cancelled() for task in tasks] == [True, False]
        tasks[1].cancel()

    asyncio.run(run())
