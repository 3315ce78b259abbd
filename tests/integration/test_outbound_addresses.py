"""No spelling, name or answer of a name server leads a client to an address that may not be called."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest
from tests.unit.outbound.peers import OPERATOR, NameServer, peer, plain, started
from tests.unit.state.stores import run

from portico.errors import AddressRefused, OutboundError, OutboundUnreachable
from portico.outbound import Bounds, Client, Guard

OK = plain(b"reached")

# Each of these would reach a listener on this machine, or names what must never be called.
LOCAL = [
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "0", "0.0.0.0", "00000000", "0x0", "2130706433", "017700000001",
    "0x7f000001", "0x7f.1", "0x7F.0x0.0x0.0x1", "0177.0.0.1", "0177.1", "127.0.0x0.1", "0127.0.0.1", "127.0.0.1.",
    "localhost", "LOCALHOST", "localhost.", "LocalHost.", "ip6-localhost", "①②⑦.⓪.⓪.①", "１２７.０.０.１",
    "127。0。0。1", "127．0．0．1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "%31%32%37.0.0.1", "127.0.0.%31",
    "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::]", "[::0]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[::FFFF:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]", "[::ffff:0.0.0.0]",
    "[::1%25lo]", "[fe80::1%25lo]", "[fe80::1]",
]  # fmt: skip
ELSEWHERE = [
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "100.64.0.1",
    "100.127.255.255", "169.254.0.1", "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16",
    "192.0.0.192", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255", "192.88.99.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "0.0.0.1", "2852039166", "0xA9FEA9FE", "10.1",
    "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[fc00::1]", "[fd00::1]", "[fdff::1]",
    "[fd00:ec2::254]", "[fd20:ce::254]", "[fec0::1]", "[ff02::1]", "[ff0e::1]", "[64:ff9b::7f00:1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1::]", "[2001::1]", "[2001:db8::1]", "[2001:10::1]", "[3fff::1]", "[3ffe::1]", "[100::1]",
    "[::2]", "[::a00:1]", "[4000::1]", "[5f00::1]", "[0100::]",
]  # fmt: skip
NO_URL = [
    "", "/", "//127.0.0.1", "http:", "http://", "http:///x", "http:127.0.0.1", "ftp://h/", "file:///etc/passwd",
    "gopher://h/", "unix:///run/x", "HTTP+UNIX://x/", "data:,x", "javascript:1", "http://user@h/", "http://user:pw@h/",
    "http://@h/", "http://:@h/", "http://h:0/", "http://h:99999/", "http://h:x/", "http://[::1/", "http://h\\@g/",
    "http://h /", "http://h\r\n/", "http://h/\r\nX: y", "http://h/\x00", "http://h\t/", " http://h/",
    "http://" + "h" * 9000,
]  # fmt: skip


@pytest.mark.parametrize("host", LOCAL + ELSEWHERE)
def test_an_address_that_users_may_not_call(host: str) -> None:
    async def scene() -> None:
        async with peer(OK) as server, started() as client:
            with pytest.raises(OutboundError) as caught:
                await asyncio.wait_for(client.get(f"http://{host}:{server.port}/"), 5)
            assert isinstance(caught.value, AddressRefused | OutboundUnreachable)
            assert not any(character.isdigit() for character in str(caught.value)), "it must tell no address"
            assert server.connections == 0

    run(scene())


@pytest.mark.parametrize("url", NO_URL)
def test_what_is_no_url(url: str) -> None:
    async def scene() -> None:
        async with started(OPERATOR) as client:
            with pytest.raises(AddressRefused):
                await client.get(url)

    run(scene())


def test_an_operators_own_addresses_may_be_private() -> None:
    async def scene() -> None:
        async with peer(OK) as server, started(OPERATOR) as client:
            for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
                assert (await client.get(f"http://{host}:{server.port}/")).body == b"reached"
            before = server.connections
            for host in ("0.0.0.0", "0", "169.254.169.254", "[::]", "[::127.0.0.1]", "224.0.0.1", "[fd00:ec2::254]"):
                with pytest.raises(AddressRefused):
                    await client.get(f"http://{host}:{server.port}/")
            assert server.connections == before

    run(scene())


def test_networks_can_be_opened_and_closed() -> None:
    own, closed = ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("127.0.0.0/8")

    async def scene() -> None:
        async with peer(OK) as server:
            async with started(Guard(allow=[own])) as client:
                assert (await client.get(server.url)).status == 200
                with pytest.raises(AddressRefused):
                    await client.get(f"http://127.0.0.2:{server.port}/")
            async with started(Guard(allow_private=True, allow=[own], deny=[closed])) as client:
                for host in ("127.0.0.1", "[::ffff:127.0.0.1]"):
                    with pytest.raises(AddressRefused):
                        await client.get(f"http://{host}:{server.port}/")

    run(scene())


PUBLIC = ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.1", "169.253.0.1", "11.0.0.1"]
PUBLIC_6 = ["2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", PUBLIC + PUBLIC_6)
def test_public_addresses_may_be_called(address: str) -> None:
    assert Guard().permits(address)


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0.1:80", "1.2.3", "0x7f.1", "::g", "1.2.3.4/32"])
def test_what_is_no_address_may_not(address: str) -> None:
    assert not Guard(allow_private=True).permits(address)


def test_a_name_that_resolves_differently_the_second_time() -> None:
    """The check when a call begins would see a public address; the connection would go to this machine."""

    async def scene() -> None:
        async with peer(OK) as server:
            with NameServer("93.184.215.14", "127.0.0.1") as names:
                first = await names.lookup("rebind.test", 80)
                assert first == ["93.184.215.14"]
                assert Guard().permits(first[0])
                async with started(lookup=names.lookup) as client:
                    for _ in range(3):
                        with pytest.raises(AddressRefused):
                            await client.get(f"http://rebind.test:{server.port}/")
                assert names.asked == 4
            assert server.connections == 0

    run(scene())


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:7f00:1", "64:ff9b::1"])
def test_a_name_with_an_address_that_may_not_be_called(address: str) -> None:
    async def scene() -> None:
        async with peer(OK) as server:
            with NameServer(address) as names:
                async with started(lookup=names.lookup) as client:
                    with pytest.raises(AddressRefused):
                        await client.get(f"http://inner.test:{server.port}/")
                assert names.asked == 1
            assert server.connections == 0

    run(scene())


def test_a_name_with_good_and_bad_addresses_goes_to_the_good_one_only() -> None:
    async def scene() -> None:
        async with peer(OK) as server:

            async def lookup(host: str, port: int) -> list[str]:
                return ["10.0.0.1", "::1", "127.0.0.2", "127.0.0.1"]

            async with started(Guard(allow=[ipaddress.ip_network("127.0.0.1/32")]), lookup=lookup) as client:
                assert (await client.get(f"http://mixed.test:{server.port}/")).body == b"reached"

            async def bad(host: str, port: int) -> list[str]:
                return ["10.0.0.1", "::1", "127.0.0.2"]

            async with started(lookup=bad) as client:
                with pytest.raises(AddressRefused):
                    await client.get(f"http://mixed.test:{server.port}/")
            assert server.connections == 1

    run(scene())


def test_a_redirect_is_checked_like_a_first_call() -> None:
    async def scene() -> None:
        async with peer(OK) as inner:
            for target in (f"http://127.0.0.2:{inner.port}/", f"http://[::1]:{inner.port}/", f"//0:{inner.port}/"):
                redirect = plain(b"", "302 Found", f"Location: {target}")
                guard = Guard(allow=[ipaddress.ip_network("127.0.0.1/32")])
                async with peer(redirect) as server, started(guard, _following(3)) as client:
                    with pytest.raises(AddressRefused):
                        await client.get(server.url)
                    assert server.connections == 1
            assert inner.connections == 0

    run(scene())


def _following(redirects: int) -> Bounds:
    return Bounds(redirects=redirects)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with peer(OK) as proxy, peer(OK) as server:
            for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            async with started(OPERATOR) as client:
                assert (await client.get(server.url)).body == b"reached"
            async with started() as client:
                with pytest.raises(AddressRefused):
                    await client.get(server.url)
            assert proxy.connections == 0

    run(scene())


def test_a_client_that_is_not_started_calls_nobody() -> None:
    async def scene() -> None:
        client = Client(OPERATOR)
        with pytest.raises(OutboundUnreachable):
            await client.get("http://127.0.0.1/")
        await client.stop()
        await client.start()
        await client.start()
        await client.stop()
        await client.stop()
        with pytest.raises(OutboundUnreachable):
            await client.get("http://127.0.0.1/")

    run(scene())


def test_the_table_is_refused_in_every_spelling_that_a_socket_has() -> None:
    """Whatever text a hostile name server may put into an address record, as the system prints it."""
    for text in ("127.0.0.1", "10.1.2.3", "169.254.169.254"):
        packed = socket.inet_aton(text)
        for prefix in (b"\0" * 10 + b"\xff\xff", b"\0" * 12, b"\x00\x64\xff\x9b" + b"\0" * 8):
            assert not Guard().permits(socket.inet_ntop(socket.AF_INET6, prefix + packed))
        assert not Guard().permits(socket.inet_ntop(socket.AF_INET6, b"\x20\x02" + packed + b"\0" * 10))
