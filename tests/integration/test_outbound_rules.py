"""`outbound` in the configuration: modes, lists of networks and hosts, a proxy; what a call leaves in the counts."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.edge.pki import Authority
from tests.integration.test_outbound_addresses import ELSEWHERE, LOCAL
from tests.unit.outbound.peers import NameServer, Peer, peer, plain, started
from tests.unit.state.stores import run

from portico.contracts import Outbound
from portico.errors import AddressRefused, OutboundError, OutboundUnreachable
from portico.outbound import Bounds, Client, Guard, rules
from portico.outbound.meter import Meter
from portico.telemetry.counts import Counts

OK = plain(b"reached")


def test_there_are_enough_spellings() -> None:
    assert len(set(LOCAL + ELSEWHERE)) >= 60


def test_without_lists_only_public_addresses_may_be_called() -> None:
    guard = rules.guard(Outbound())
    assert guard.permits("1.1.1.1")
    assert not guard.permits("127.0.0.1")
    assert not guard.permits("10.0.0.1")
    operator = rules.guard(Outbound(), operator=True)
    assert operator.permits("10.0.0.1")
    assert not operator.permits("169.254.169.254")


def test_allow_opens_networks_and_hosts_and_deny_closes_them_again() -> None:
    guard = rules.guard(
        Outbound(allow=("10.1.0.0/16", "*.corp.test", "one.test"), deny=("10.1.2.0/24", "bad.corp.test"))
    )
    assert guard.permits("10.1.0.1")
    assert not guard.permits("10.1.2.1")
    assert not guard.permits("10.2.0.1")
    assert guard.permits("10.2.0.1", "a.corp.test")
    assert guard.permits("10.2.0.1", "One.Test.")
    assert not guard.permits("10.2.0.1", "corp.test"), "a domain is not below itself"
    assert not guard.permits("10.2.0.1", "acorp.test")
    assert not guard.permits("10.2.0.1", "bad.corp.test")
    assert not guard.permits("1.1.1.1", "bad.corp.test")
    assert not guard.permits("169.254.169.254", "one.test"), "a listed host does not lead to metadata"
    assert not guard.permits("64:ff9b::1", "one.test")


@pytest.mark.parametrize("operator", [False, True])
def test_an_allow_list_allows_nothing_else(operator: bool) -> None:
    guard = rules.guard(Outbound("allow_list", ("10.0.0.0/8", "one.test")), operator=operator)
    assert guard.permits("10.0.0.1")
    assert guard.permits("1.1.1.1", "one.test")
    assert not guard.permits("1.1.1.1")
    assert not guard.permits("192.168.0.1")
    assert not guard.knows("two.test")
    assert guard.knows("10.0.0.1")
    assert not guard.knows("0x0a.1"), "an odd spelling is a name that is not listed"


@pytest.mark.parametrize("operator", [False, True])
def test_none_allows_nothing(operator: bool) -> None:
    guard = rules.guard(Outbound("none", ("10.0.0.0/8", "one.test")), operator=operator)
    for address in ("1.1.1.1", "10.0.0.1", "127.0.0.1"):
        assert not guard.permits(address)
    assert not guard.permits("1.1.1.1", "one.test")


def test_a_name_that_is_not_listed_is_not_even_looked_up() -> None:
    async def scene() -> None:
        async with peer(OK) as server:
            with NameServer("127.0.0.1") as names:
                for outbound in (Outbound("none"), Outbound("allow_list", ("127.0.0.1/32",))):
                    async with started(rules.guard(outbound), lookup=names.lookup) as client:
                        for call in (client.get, client.check):
                            with pytest.raises(AddressRefused):
                                await call(f"http://other.test:{server.port}/")  # type: ignore[operator]
                assert names.asked == 0
                listed = Outbound("allow_list", ("inner.test",))
                async with started(rules.guard(listed), lookup=names.lookup) as client:
                    assert (await client.get(f"http://inner.test:{server.port}/")).body == b"reached"
                    with pytest.raises(AddressRefused):
                        await client.get(server.url)
            assert server.connections == 1

    run(scene())


def test_a_host_that_is_allowed_opens_nothing_to_another_on_the_same_client() -> None:
    async def scene() -> None:
        async with peer(OK) as server:

            async def lookup(host: str, port: int) -> list[str]:
                return ["127.0.0.1"]

            async with started(Guard(hosts=["inner.test"]), lookup=lookup) as client:
                calls = [client.get(f"http://{name}.test:{server.port}/") for name in ("inner", "other") * 10]
                found = await asyncio.gather(*calls, return_exceptions=True)
                assert [isinstance(each, AddressRefused) for each in found] == [False, True] * 10

    run(scene())


def test_a_url_is_checked_without_being_called() -> None:
    async def scene() -> None:
        async with peer(OK) as server:
            with NameServer("127.0.0.1") as names:
                async with started(lookup=names.lookup) as client:
                    for url in ("ftp://a.test/", "http://u@a.test/", f"http://inner.test:{server.port}/"):
                        with pytest.raises(AddressRefused):
                            await client.check(url)

                async def nobody(host: str, port: int) -> list[str]:
                    raise OSError("there is none")

                async with started(lookup=nobody) as client:
                    with pytest.raises(OutboundUnreachable):
                        await client.check("http://nowhere.test/")
            assert server.connections == 0

    run(scene())


def test_a_body_is_cut_where_that_is_asked() -> None:
    async def scene() -> None:
        endless = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"2710\r\n" + bytes(10_000) + b"\r\n") * 50
        )
        import gzip

        packed = gzip.compress(bytes(5_000_000))
        for answer in (
            plain(bytes(200_000)),
            endless,
            plain(packed, "200 OK", "Content-Encoding: gzip"),
            b"HTTP/1.1 200 OK\r\n\r\n" + bytes(300_000),
        ):
            async with peer(answer) as server, started(Guard(allow_private=True), Bounds(body=64 * 1024)) as client:
                found = await client.request("POST", server.url, body=b"{}", cut=True)
                assert (found.status, len(found.body)) == (200, 64 * 1024)

    run(scene())


class Proxy:
    """A forward proxy: passes on absolute-form requests to `to`, and opens tunnels to it."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.lines: list[str] = []
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        line = head.split(b"\r\n")[0].decode()
        self.lines.append(line)
        inner, out = await asyncio.open_connection("127.0.0.1", self.to)
        if line.startswith("CONNECT "):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            out.write(head)
        await asyncio.gather(_copy(reader, out), _copy(inner, writer), return_exceptions=True)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(65536):
        sink.write(piece)
        await sink.drain()
    sink.close()


async def _proxied(server: Peer, url: str, names: NameServer, tls: Any = None, user: str = "") -> tuple[Any, Proxy]:
    proxy = Proxy(server.port)
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        async with started(Guard(), proxy=f"http://{user}127.0.0.1:{port}", lookup=names.lookup, tls=tls) as client:
            try:
                return await client.get(url), proxy
            except OutboundError as error:
                return error, proxy
    finally:
        listening.close()


def test_calls_go_through_the_proxy_when_their_name_leads_where_they_may() -> None:
    async def scene() -> None:
        async with peer(OK) as server:
            with NameServer("93.184.215.14") as names:
                answer, proxy = await _proxied(server, "http://good.test/a", names, user="user:secret@")
                assert answer.body == b"reached"
                assert proxy.lines == ["GET http://good.test/a HTTP/1.1"]
                assert b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in proxy.heads[0]
            for address in ("127.0.0.1", "169.254.169.254", "64:ff9b::1"):
                with NameServer(address) as names:
                    refused, proxy = await _proxied(server, "http://inner.test/", names)
                    assert isinstance(refused, AddressRefused), address
                    assert proxy.lines == []
            with NameServer("93.184.215.14") as names:
                for url in ("http://127.0.0.1/", "http://0x7f.1/", "http://[::1]/"):
                    refused, proxy = await _proxied(server, url, names)
                    assert isinstance(refused, OutboundError)
                    assert proxy.lines == []

    run(scene())


def test_https_goes_through_a_tunnel_of_the_proxy(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*authority.issue("good", "DNS:good.test"))
    trusting = ssl.create_default_context(cafile=str(authority.cert))

    async def scene() -> None:
        async with peer(OK, serving) as server:
            with NameServer("93.184.215.14") as names:
                answer, proxy = await _proxied(server, "https://good.test/a", names, trusting)
                assert getattr(answer, "body", answer) == b"reached"
                assert proxy.lines == ["CONNECT good.test:443 HTTP/1.1"]
                other, proxy = await _proxied(server, "https://other.test/a", names, trusting)
                assert isinstance(other, OutboundUnreachable), "the certificate is checked behind the proxy too"

    run(scene())


def test_a_proxy_that_refuses() -> None:
    async def scene() -> None:
        async with peer(plain(b"", "407 Proxy Authentication Required")) as proxy:
            with NameServer("93.184.215.14") as names:
                async with started(Guard(), proxy=proxy.url, lookup=names.lookup) as client:
                    with pytest.raises(OutboundUnreachable):
                        await client.get("https://good.test/")

    run(scene())


def test_calls_are_counted_by_purpose_and_outcome() -> None:
    async def scene() -> None:
        counts = Counts()
        async with peer(plain(b"", "404 Not Found")) as server:
            client = Client(Guard(allow=[ipaddress.ip_network("127.0.0.1/32")]), meter=Meter(counts))
            await client.start()
            try:
                await client.get(server.url, purpose="webhook")
                for url in ("http://127.0.0.2/", "ftp://h/"):
                    with pytest.raises(AddressRefused):
                        await client.get(url, purpose="webhook")
                with pytest.raises(OutboundUnreachable):
                    await client.get("http://127.0.0.1:1/", purpose="issuer_keys")
            finally:
                await client.stop()
        report = counts.report()
        assert sorted(report["services"]) == [
            ["outbound_calls", "issuer_keys", "unreachable", 1],
            ["outbound_calls", "webhook", "4xx", 1],
            ["outbound_calls", "webhook", "refused", 2],
        ]
        assert {row[0]: row[3] for row in report["services_seconds"]} == {
            "outbound_seconds:webhook": 3,
            "outbound_seconds:issuer_keys": 1,
        }

    run(scene())
