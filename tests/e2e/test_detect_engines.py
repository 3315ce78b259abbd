"""Remote engines over the network: who is asked, what is taken of their answers, and what comes when they fail."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.upstream_process import UpstreamProcess
from tests.collector import Collector
from tests.e2e.api import Api, within
from tests.e2e.engine import ATTACK, GOOD, HARMLESS, Detecting, Engine, configured, telling

from portico.testing import FakeUpstream, GatewayHarness, free_port
from portico.testing.client import Answer, Reader, request_bytes
from portico.testing.upstream import Connection, Request, response

SECRET = "engine-key-5f1c9e"
STUB = Path(__file__).parents[2] / "bench" / "engine.py"
LARGE = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayHarness]:
    with GatewayHarness(configured({}), env={"ENGINE_KEY": SECRET}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def texts(gateway: GatewayHarness) -> Detecting:
    return Detecting(Api(gateway))


@pytest.fixture
def release() -> threading.Event:
    """What `stuck` engines wait for; set before the engine's fixture ends."""
    return threading.Event()


@pytest.fixture
def engine(release: threading.Event) -> Iterator[Engine]:
    with Engine() as engine:
        yield engine
        release.set()
        assert engine.errors == []


@pytest.fixture
def other() -> Iterator[Engine]:
    with Engine(lambda _request, _connection: telling(confidence=0.4, reason="the other one")) as other:
        yield other


def stuck(release: threading.Event) -> Any:
    """An engine's answer that does not come before the test ends."""

    def answer(_request: Request, _connection: Connection) -> bytes | None:
        release.wait(30)
        return None

    return answer


def test_an_engine_is_asked_as_agreed_and_its_verdict_told(texts: Detecting, engine: Engine) -> None:
    texts.use(configured({"main": f"{engine.url}/base/"}, headers={"X-Engine-Key": "${ENGINE_KEY}"}))
    found = texts.ask(include_reasoning=True, confidence_threshold=0.7)
    assert (found["is_malicious"], found["confidence"], found["threat_types"]) == (True, 0.83, ["jailbreak"])
    assert (found["engine"], found["degraded"], found["reason"]) == ("main", False, GOOD["reason"])
    assert texts.ask()["reason"] == ""
    first, second = engine.requests
    assert (first.method, first.target, first.connection) == ("POST", "/base/v1/detect", second.connection)
    assert (first.header("X-Engine-Key"), first.header("Content-Type")) == (SECRET, "application/json")
    assert engine.told()[0] == {
        "text": HARMLESS,
        "config": {"confidence_threshold": 0.7, "detailed_response": True},
    }


def test_the_threshold_of_the_request_decides_whatever_the_engine_says(texts: Detecting, engine: Engine) -> None:
    texts.use(configured({"main": engine.url}))
    found = texts.ask(confidence_threshold=0.84)
    assert (found["is_malicious"], found["confidence"], found["threat_types"]) == (False, 0.83, [])
    engine.answer = lambda _request, _connection: telling(is_malicious=False)
    assert texts.ask(confidence_threshold=0.83)["is_malicious"]


def test_the_next_engine_answers_when_the_first_can_not(texts: Detecting, other: Engine) -> None:
    texts.use(configured({"main": f"http://127.0.0.1:{free_port()}", "spare": other.url}))
    found = texts.ask(include_reasoning=True)
    assert (found["engine"], found["degraded"], found["reason"]) == ("spare", False, "the other one")


def test_without_any_engine_the_embedded_detector_stands_in(texts: Detecting) -> None:
    texts.use(configured({name: f"http://127.0.0.1:{free_port()}" for name in ("main", "spare")}))
    for text, malicious in ((ATTACK, True), (HARMLESS, False)):
        found = texts.ask(text)
        assert (found["is_malicious"], found["engine"], found["degraded"]) == (malicious, "embedded", True)


def _breaking_off(_request: Request, connection: Connection) -> None:
    connection.send(telling()[:-5])
    connection.close()


def _endless(_request: Request, connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with contextlib.suppress(OSError):
        for _ in range(LARGE // 65536):
            connection.send(piece)
            connection.large = getattr(connection, "large", 0) + 65536  # type: ignore[attr-defined]
    connection.close()


def _packed(_request: Request, _connection: Connection) -> bytes:
    return response(200, gzip.compress(b" " * LARGE), [("Content-Encoding", "gzip")])


def _fixed(answer: bytes) -> Any:
    return lambda _request, _connection: answer


def _without(name: str) -> bytes:
    return telling(body=json.dumps({key: value for key, value in GOOD.items() if key != name}).encode())


NONSENSE = {
    "no JSON": _fixed(telling(body=b"<html>hello</html>")),
    "nothing": _fixed(telling(body=b"")),
    "no object": _fixed(telling(body=b"[]")),
    "confidence 7": _fixed(telling(confidence=7)),
    "negative confidence": _fixed(telling(confidence=-0.1)),
    "NaN": _fixed(telling(confidence=float("nan"))),
    "confidence as text": _fixed(telling(confidence="0.9")),
    "confidence true": _fixed(telling(confidence=True)),
    "no confidence": _fixed(_without("confidence")),
    "no is_malicious": _fixed(_without("is_malicious")),
    "is_malicious as text": _fixed(telling(is_malicious="yes")),
    "no threat_types": _fixed(_without("threat_types")),
    "threat_types as text": _fixed(telling(threat_types="injection")),
    "numbers as threats": _fixed(telling(threat_types=[1])),
    "a reason that is a list": _fixed(telling(reason=[])),
    "half a character": _fixed(telling(body=json.dumps({**GOOD, "reason": "\ud800"}).encode())),
    "a name twice": _fixed(telling(body=b'{"confidence": 0.1, "confidence": 0.9}')),
    "500": _fixed(telling(500)),
    "404": _fixed(telling(404)),
    "201": _fixed(telling(201)),
    "no HTTP": _fixed(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "breaks off": _breaking_off,
    "20 MB": _endless,
    "20 MB, packed": _packed,
}


def test_nonsense_is_never_passed_on(texts: Detecting, engine: Engine) -> None:
    texts.use(configured({"main": engine.url}))
    good = engine.answer
    for name, answer in NONSENSE.items():
        for _ in range(2):  # so that the breaker sees failures in between, and stays closed
            engine.answer = good
            assert texts.ask()["engine"] == "main", name
        engine.answer = answer
        found = texts.ask(include_reasoning=True)
        assert (found["engine"], found["degraded"], found["is_malicious"]) == ("embedded", True, False), name
    assert max(getattr(each, "large", 0) for each in engine.accepted) < LARGE / 2  # it was cut off while it came


def test_redirects_are_not_followed(texts: Detecting, engine: Engine, other: Engine) -> None:
    texts.use(configured({"main": engine.url}))
    for status in (301, 302, 307, 308):
        engine.answer = _fixed(response(status, b"", [("Location", f"{other.url}/v1/detect")]))
        assert texts.ask()["degraded"]
    assert other.requests == []


def test_what_broke_is_tried_again(texts: Detecting, engine: Engine) -> None:
    texts.use(configured({"main": engine.url}))
    for first in (_fixed(telling(503)), lambda _request, connection: connection.reset()):
        asked: list[Request] = []

        def answer(request: Request, connection: Connection, first: Any = first, asked: Any = asked) -> bytes | None:
            asked.append(request)
            result: bytes | None = first(request, connection) if len(asked) == 1 else telling()
            return result

        engine.answer = answer
        assert texts.ask()["engine"] == "main"
        assert len(asked) == 2
    texts.use(configured({"main": engine.url}, retries=0))
    engine.answer = _fixed(telling(503))
    assert texts.ask()["degraded"]
    assert len(engine.requests) == 5


def test_a_text_that_an_engine_refuses_does_not_take_it_from_others(texts: Detecting, engine: Engine) -> None:
    texts.use(configured({"main": engine.url}))
    engine.answer = lambda request, _: telling(422) if b"odd" in request.body else telling()
    for _ in range(12):
        assert texts.ask("odd")["degraded"]
    assert texts.ask()["engine"] == "main"


@pytest.mark.parametrize(
    ("policy", "malicious", "confidence"), [(None, False, 0.5), ("allow", False, 0.0), ("block", True, 1.0)]
)
def test_what_is_answered_when_time_runs_out(
    texts: Detecting, engine: Engine, release: threading.Event, policy: str | None, malicious: bool, confidence: float
) -> None:
    texts.use(configured({"main": engine.url}, policy, hurry="main"))
    engine.answer = stuck(release)
    found = texts.ask(ATTACK, confidence_threshold=0.4)
    assert (found["is_malicious"], found["confidence"], found["threat_types"]) == (malicious, confidence, [])
    assert (found["engine"], found["degraded"]) == ("main", True)
    assert "no engine judged the text in time" in found["reason"]  # though nobody asked for a reason


def test_the_embedded_detector_may_answer_when_time_runs_out(
    texts: Detecting, engine: Engine, release: threading.Event
) -> None:
    texts.use(configured({"main": engine.url}, "embedded", hurry="main"))
    engine.answer = stuck(release)
    found = texts.ask(ATTACK)
    assert (found["is_malicious"], found["engine"], found["degraded"]) == (True, "embedded", True)


def test_the_last_engine_that_was_asked_decides_whether_time_ran_out(
    texts: Detecting, engine: Engine, other: Engine, release: threading.Event
) -> None:
    engine.answer = stuck(release)
    texts.use(configured({"main": engine.url, "spare": other.url}, "block", hurry="main"))
    assert texts.ask()["engine"] == "spare"
    texts.use(configured({"main": engine.url, "spare": f"http://127.0.0.1:{free_port()}"}, "block", hurry="main"))
    assert (texts.ask()["engine"], texts.ask()["is_malicious"]) == ("embedded", False)
    texts.use(configured({"spare": f"http://127.0.0.1:{free_port()}", "main": engine.url}, "block", hurry="main"))
    assert texts.ask()["is_malicious"]


def test_tries_share_the_timeout(texts: Detecting, engine: Engine, release: threading.Event) -> None:
    def answer(_request: Request, _connection: Connection) -> bytes | None:
        time.sleep(0.2)
        return telling(503)

    engine.answer = answer
    texts.use(configured({"main": engine.url}, "allow", timeout="500ms", retries=5))
    assert texts.ask()["degraded"]
    assert len(engine.requests) <= 3  # of six


class Asking:
    """`with Asking(texts) as asking:` keeps texts coming over two connections; `answers` are engines and `degraded`."""

    def __init__(self, texts: Detecting) -> None:
        self.answers: list[tuple[str, bool]] = []
        self.failures: list[str] = []
        self._texts = texts
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(2)]

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def answered(self, engine: str, degraded: bool, count: int) -> None:
        """Return when so many more such answers have come."""
        wanted = self.answers.count((engine, degraded)) + count
        within(30.0, lambda: self.answers.count((engine, degraded)) >= wanted or bool(self.failures))
        assert self.failures == []

    def _run(self) -> None:
        fields = {"Authorization": f"Bearer {self._texts.key}", "Content-Type": "application/json"}
        body = json.dumps({"text": HARMLESS}).encode()
        try:
            with self._texts.api.gateway.connect(20) as sock:
                reader = Reader(sock)
                raw = request_bytes("POST", "/v1/detect", "a", {**fields, "Connection": "keep-alive"}, body)
                while not self._stop.is_set():
                    sock.sendall(raw)
                    answer = reader.answer("POST")
                    if answer.status != 200:
                        self.failures.append(f"{answer.status} {answer.body[:200]!r}")
                        return
                    found = answer.json()
                    self.answers.append((found["engine"], found["degraded"]))
        except OSError as error:
            self.failures.append(repr(error))


def test_a_killed_engine_costs_no_answer_and_comes_back(texts: Detecting) -> None:
    with UpstreamProcess((str(STUB),), "1") as stub:
        texts.use(configured({"main": stub.url}))
        with Asking(texts) as asking:
            asking.answered("main", False, 20)
            stub.kill()
            asking.answered("embedded", True, 20)
            within(20.0, lambda: "engine.main" in texts.health().get("dependencies", {}))
            within(20.0, lambda: texts.health()["dependencies"]["engine.main"]["status"] == "down")
            state = texts.health()
            assert (state["status"], state["dependencies"]["engine.main"]["last_error"]) == (
                "degraded",
                "no connection could be made, or it broke",
            )
            assert texts.api.gateway.request("GET", "/health/ready").status == 200
            within(20.0, lambda: 'portico_detection_engine_ejected{engine="main"} 1.0' in texts.metrics())
            stub.start()
            asking.answered("main", False, 20)
        assert asking.failures == []
    within(20.0, lambda: 'portico_detection_engine_ejected{engine="main"} 0.0' in texts.metrics())
    metrics = texts.metrics()
    for counted in (
        r'detection_engine_calls_total\{engine="main",outcome="ok"\} \d\d',
        r'detection_engine_calls_total\{engine="main",outcome="unreachable"\} \d+',
        r'detection_degraded_total\{answer="embedded"\} \d\d',
        r'detection_engine_seconds_count\{engine="main"\} \d\d',
    ):
        assert re.search(counted, metrics), counted


def test_an_engine_that_is_left_alone_is_not_asked(
    texts: Detecting, engine: Engine, other: Engine, release: threading.Event
) -> None:
    engine.answer = stuck(release)
    texts.use(configured({"main": engine.url, "spare": other.url}, hurry="main"))
    for _ in range(5):
        assert texts.ask()["engine"] == "spare"
    asked = sum("museum" in told["text"] for told in engine.told())
    assert texts.ask()["engine"] == "spare"
    assert sum("museum" in told["text"] for told in engine.told()) == asked
    engine.answer = lambda _request, _connection: telling()
    within(20.0, lambda: bool(texts.ask()["engine"] == "main"))
    assert any("museum" not in told["text"] for told in engine.told())  # a probe brought it back


def test_a_reload_loses_no_call(texts: Detecting, engine: Engine) -> None:
    arrived, go = threading.Event(), threading.Event()

    def answer(_request: Request, _connection: Connection) -> bytes:
        arrived.set()
        go.wait(8)
        return telling()

    engine.answer = answer
    texts.use(configured({"main": engine.url}))
    found: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: found.append(texts.ask()))
    asking.start()
    assert arrived.wait(20)
    texts.use(configured({}))
    assert texts.ask()["engine"] == "embedded"
    go.set()
    asking.join(20)
    assert [(each["engine"], each["degraded"]) for each in found] == [("main", False)]
    within(20.0, lambda: engine.open_connections == 0)


def test_nobody_is_called_whom_outbound_does_not_allow(texts: Detecting, engine: Engine) -> None:
    config = configured({"main": engine.url})
    texts.use({**config, "outbound": {"mode": "allow_list", "allow": ["10.0.0.0/8"]}})
    assert texts.ask()["degraded"]
    assert engine.accepted == []
    texts.use({**config, "outbound": {"mode": "allow_list", "allow": ["127.0.0.1/32"]}})
    assert texts.ask()["engine"] == "main"


def test_an_engine_s_key_is_shown_nowhere(texts: Detecting, engine: Engine) -> None:
    config = configured({"main": engine.url}, headers={"X-Engine-Key": "${ENGINE_KEY}"})
    texts.use({**config, "log": {"level": "debug"}})
    engine.answer = lambda _request, _connection: telling(500, reason=SECRET)
    for _ in range(6):
        assert SECRET not in json.dumps(texts.ask(include_reasoning=True))
    gateway = texts.api.gateway
    within(20.0, lambda: "left alone" in gateway.output())
    shown = [gateway.output(), json.dumps(texts.health()), texts.metrics(), json.dumps(gateway.status())]
    shown += [(gateway.data_dir / "logs" / "access.log").read_text()]
    shown += [gateway.cli("check", str(gateway.config_path)).stdout]
    assert all(SECRET not in each for each in shown)
    assert any(request.header("X-Engine-Key") == SECRET for request in engine.requests)


def test_one_caller_has_four_batches_at_a_time(texts: Detecting, engine: Engine, release: threading.Event) -> None:
    def answer(_request: Request, _connection: Connection) -> bytes:
        release.wait(30)
        return telling()

    def send(number: int) -> Answer:
        items = [{"id": "a", "text": f"{HARMLESS} ({number})"}]
        return texts.api.send("POST", "/v1/detect/batch", texts.key, {"requests": items})

    engine.answer = answer
    texts.use(configured({"main": engine.url}, timeout="25s"))
    with ThreadPoolExecutor(4) as pool:
        under_way = [pool.submit(send, number) for number in range(4)]
        within(20.0, lambda: len(engine.told()) == 4)
        refused = send(4)
        release.set()
        assert [each.result().status for each in under_way] == [200] * 4
    assert (refused.status, refused.json()["code"], refused.header("Retry-After")) == (429, "too_many_batches", "1")
    assert send(5).status == 200


def test_the_trace_goes_on_to_the_engine(texts: Detecting, engine: Engine) -> None:
    with Collector() as collector:
        tracing = {"endpoint": collector.url, "sample": 0, "trust": True}
        texts.use({**configured({"main": engine.url}), "tracing": tracing})
        trace_id = secrets.token_hex(16)
        fields = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
        assert texts.api.send("POST", "/v1/detect", texts.key, {"text": HARMLESS}, fields).status == 200
        spans = collector.complete(trace_id, 3, 30.0)
        (call,) = [span for span in spans if span.name == "POST engine"]
        assert engine.requests[-1].header("traceparent") == f"00-{trace_id}-{call.id}-01"
        texts.use(configured({"main": engine.url}))
    assert texts.ask()["engine"] == "main"
    assert engine.requests[-1].header("traceparent") is None


def test_a_host_that_takes_no_connection_is_down_not_slow(texts: Detecting) -> None:
    """A listener whose queue is full: connections are neither taken nor refused."""
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        texts.use(configured({"main": f"http://127.0.0.1:{full.getsockname()[1]}"}, "block"))
        found = texts.ask()
        assert (found["engine"], found["degraded"], found["is_malicious"]) == ("embedded", True, False)


def test_an_engine_may_speak_no_connection_reuse(texts: Detecting) -> None:
    def answer(_request: Request, connection: Connection) -> None:
        connection.send(telling())
        connection.close()

    with FakeUpstream(answer) as engine:
        texts.use(configured({"main": engine.url}))
        assert [texts.ask()["engine"] for _ in range(5)] == ["main"] * 5


@pytest.mark.parametrize(("on_failure", "status"), [("closed", 503), ("open", 200)])
def test_a_text_that_nobody_judged_in_time_is_not_clean_to_a_guard(
    texts: Detecting, engine: Engine, release: threading.Event, on_failure: str, status: int
) -> None:
    engine.answer = stuck(release)
    with FakeUpstream() as upstream:
        guard = {"detect": "prompt_injection", "on_failure": on_failure, "timeout": "10s"}
        texts.use(
            {
                **configured({"main": engine.url}, "allow", hurry="main"),
                "upstreams": {"up": {"targets": [upstream.url]}},
                "routes": [{"name": "chat", "paths": ["/chat"], "upstream": "up", "guard": guard}],
            }
        )
        answer = texts.api.send("POST", "/chat", None, {"messages": [{"role": "user", "content": HARMLESS}]})
        assert answer.status == status
        told = [request.header("X-Portico-Guard") for request in upstream.requests]
        assert told == (["unavailable"] if status == 200 else [])
