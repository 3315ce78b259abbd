"""The channel, over real socket pairs."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from collections.abc import Iterator

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from portico.errors import ChannelError
from portico.kernel import channel as module
from portico.kernel.channel import MAX_MESSAGE, AsyncChannel, Channel, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
MESSAGES = st.lists(st.dictionaries(st.text(max_size=20), VALUES, max_size=5), max_size=6)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    left.settimeout(5)
    right.settimeout(5)
    with left, right:
        yield left, right


@given(MESSAGES, st.data())
def test_any_split_of_the_bytes_gives_the_same_messages(messages: list[dict[str, object]], data: st.DataObject) -> None:
    stream = b"".join(encode(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    left, right = socket.socketpair()
    with left, right:
        right.setblocking(False)
        end = Channel(right)
        received = []
        for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            left.sendall(stream[start:stop])
            if stop > start:
                received += end.read() or []
        while more := end.read():
            received += more
    assert received == messages


def test_every_single_byte_split(pair: tuple[socket.socket, socket.socket]) -> None:
    message = {"type": "boot", "snapshot": "é" * 10}
    stream = encode(message)
    for cut in range(1, len(stream)):
        end = Channel(pair[1])
        assert end.feed(stream[:cut]) == []
        assert end.feed(stream[cut:]) == [message]


def test_blocking_use_carries_a_message_larger_than_the_socket_buffer(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    big = {"snapshot": "x" * 5_000_000}
    sender = threading.Thread(
        target=lambda: [Channel(pair[0]).send(each) for each in (big, {"n": 2}, {"n": 3})], daemon=True
    )
    sender.start()
    end = Channel(pair[1])
    assert [end.receive(), end.receive(), end.receive()] == [big, {"n": 2}, {"n": 3}]
    sender.join()
    pair[0].close()
    assert end.receive() is None


def test_non_blocking_send_keeps_the_rest_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].setblocking(False)
    ours, theirs = Channel(pair[0]), Channel(pair[1])
    messages = [{"n": n, "fill": "y" * 300_000} for n in range(5)]
    for message in messages:
        ours.send(message)
    assert ours.pending
    received = []
    while len(received) < 5:
        received += theirs.read() or []
        ours.flush()
    assert received == messages
    assert not ours.pending


def test_closed_other_end() -> None:
    left, right = socket.socketpair()
    right.close()
    with left:
        end = Channel(left)
        with pytest.raises(ChannelError, match="gone"):
            end.send({"type": "ready"})
        assert end.read() is None


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        ((MAX_MESSAGE + 1).to_bytes(4, "big"), "over the limit"),
        (b"\xff\xff\xff\xff", "over the limit"),
        (b"\0\0\0\0", "not JSON"),
        (b"\0\0\0\x02{x", "not JSON"),
        (b"\0\0\0\x02[]", "not an object"),
        (b"\0\0\0\x02\xff\xfe", "not JSON"),
    ],
)
def test_malformed_input_is_refused_at_once(raw: bytes, match: str, pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(ChannelError, match=match):
        Channel(pair[0]).feed(raw)


def test_a_message_over_the_limit_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGE", 100)
    assert encode({"a": "x" * 91})  # 8 bytes around it: just under
    with pytest.raises(ChannelError, match="over the limit of 100"):
        encode({"a": "x" * 93})


def test_an_end_that_never_reads_does_not_fill_memory(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 1_000_000)
    pair[0].setblocking(False)
    end = Channel(pair[0])
    message = {"fill": "z" * 100_000}
    for _ in range(8):
        end.send(message)
    with pytest.raises(ChannelError, match="does not read"):
        [end.send(message) for _ in range(100)]


def test_async_both_ways_under_load_and_closing() -> None:
    async def exchange() -> None:
        left, right = socket.socketpair()
        ours, theirs = AsyncChannel(left), AsyncChannel(right)
        numbers = list(range(200))
        fill = "q" * 20_000

        async def receive(end: AsyncChannel) -> list[int]:
            return [(await end.receive() or {})["n"] for _ in numbers]

        both = asyncio.gather(receive(ours), receive(theirs))
        for n in numbers:
            ours.send({"n": n, "fill": fill})
            theirs.send({"n": n, "fill": fill})
        assert await asyncio.wait_for(both, 10) == [numbers, numbers]
        ours.close()
        assert await asyncio.wait_for(theirs.receive(), 5) is None
        theirs.send({"n": 1})  # dropped: nobody is there
        theirs.send({"n": 2})
        assert await theirs.receive() is None
        theirs.close()

    uvloop.run(exchange())
    asyncio.run(exchange())


def test_async_receive_can_be_cancelled_without_losing_messages() -> None:
    async def exchange() -> None:
        left, right = socket.socketpair()
        end = AsyncChannel(right)
        stream = encode({"n": 1}) + encode({"n": 2})
        received = []
        shuffled = random.Random(7)
        at = 0
        while len(received) < 2:
            try:
                received.append(await asyncio.wait_for(end.receive(), 0.005))
            except TimeoutError:
                step = shuffled.randint(1, 3)
                left.sendall(stream[at : at + step])
                at += step
        assert received == [{"n": 1}, {"n": 2}]
        left.close()
        end.close()

    uvloop.run(exchange())


def test_the_text_on_the_wire_is_plain_json() -> None:
    raw = encode({"type": "ask", "id": 1})
    assert raw[:4] == len(raw[4:]).to_bytes(4, "big")
    assert json.loads(raw[4:]) == {"type": "ask", "id": 1}
