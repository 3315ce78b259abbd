"""The open-loop generator counts from the moment when a request was due, not from when it could be sent."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from openloop import Lane, percentiles, run

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Slow:
    """An upstream that answers one connection, the third request after a stall."""

    def __init__(self, stall: float, answer: bytes) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.stall, self.answer = stall, answer
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        client, _ = self.listener.accept()
        with client:
            number = 0
            while client.recv(65536):
                number += 1
                if number == 3:
                    time.sleep(self.stall)
                client.sendall(self.answer)


@pytest.fixture
def stalling() -> Iterator[Slow]:
    slow = Slow(0.3, ANSWER)
    yield slow
    slow.listener.close()


def test_requests_that_had_to_wait_for_another_are_counted_with_their_wait(stalling: Slow) -> None:
    lane = Lane(stalling.port, "/", "key", rate=50, connections=1)
    run([lane], 0.5)
    took = [seconds for _, seconds in lane.latencies]
    assert len(took) == pytest.approx(23, abs=2)  # 50 a second, from 50 ms on, and none left out
    assert took[0] < 0.2
    assert sum(seconds > 0.1 for seconds in took) >= 8  # those due during the stall, not the one stalled alone


def test_an_answer_that_is_no_200_ends_it() -> None:
    refusing = Slow(0, ANSWER.replace(b"200 OK", b"503 No"))
    with pytest.raises(RuntimeError, match="503"):
        run([Lane(refusing.port, "/x", "key", rate=50, connections=1)], 0.2)
    refusing.listener.close()


def test_percentiles() -> None:
    found = percentiles([n / 1000 for n in range(1, 1001)])
    assert (found["p50_ms"], found["p99_ms"], found["p999_ms"], found["most_ms"]) == (501.0, 991.0, 1000.0, 1000.0)


def test_a_body_is_posted() -> None:
    lane = Lane(Slow(0, ANSWER).port, "/x", "key", rate=50, connections=1, body=b"{}")
    head, _, body = lane.message(1).partition(b"\r\n\r\n")
    assert (head.partition(b"\r\n")[0], body) == (b"POST /x HTTP/1.1", b"{}")
    assert b"\r\nContent-Length: 2" in head
    run([lane], 0.2)
    assert lane.latencies
