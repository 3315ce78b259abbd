"""Answers that are given again, over the network: in memory and in Redis, for one tenant and no other."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.e2e.api import Api, within
from tests.e2e.engine import ATTACK, Detecting, Engine, configured, telling
from tests.services import private_redis

from portico.testing import GatewayHarness
from portico.testing.upstream import Connection, Request

DETECT = "/v1/detect"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def settings(store: str, engine: str = "", **cache: Any) -> dict[str, Any]:
    """A gateway with one engine or none; with Redis it has two services processes."""
    config = configured({"main": engine} if engine else {}, timeout="5s")
    config["detection"]["cache"] = cache
    config["server"] = {**config["server"], "services": {"processes": processes(store)}}
    return {**config, "state": {"url": store, "wait": "1s"}}


def processes(store: str) -> int:
    return 1 if store.startswith("memory") else 2


@pytest.fixture(scope="module", params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://"
        return
    with private_redis() as server:
        yield server.url


@pytest.fixture(scope="module")
def gateway(store: str, engine: Engine) -> Iterator[Api]:
    with GatewayHarness(settings(store, engine.url)) as gateway:
        yield Api(gateway)


@pytest.fixture
def api(gateway: Api, engine: Engine) -> Api:
    engine.answer = lambda _request, _connection: telling()
    return gateway


@pytest.fixture(scope="module")
def keys(gateway: Api) -> tuple[str, str, str]:
    """A key, one of the same tenant, and one of another."""
    one, same = (str(gateway.key("detect:use", tenant="a")["key"]) for _ in range(2))
    return one, same, str(gateway.key("detect:use", tenant="b")["key"])


def text() -> str:
    """One that nobody has asked about."""
    return f"{ATTACK} {secrets.token_hex(8)}"


def ask(api: Api, key: str, text: str, said: str = "", **config: Any) -> dict[str, Any]:
    """The verdict; `said` is the request's Cache-Control."""
    fields = {"Cache-Control": said} if said else {}
    answer = api.send("POST", DETECT, key, {"text": text, "config": config}, fields)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()
    return found


def without(found: dict[str, Any]) -> dict[str, Any]:
    """What an answer from the cache has in common with the first."""
    return {name: found[name] for name in set(found) - {"request_id", "processing_time_ms", "cache_hit"}}


def asked(engine: Engine, text: str) -> int:
    return sum(told["text"] == text for told in engine.told())


def test_what_is_done_is_counted(api: Api, keys: Any) -> None:
    """The first of this file: nothing has been asked before."""
    mine = text()
    for who, said in ((keys[0], ""), (keys[0], ""), (keys[0], "no-cache"), (keys[2], "")):
        ask(api, who, mine, said)

    def counted() -> dict[str, float]:
        shown = api.send("GET", "/metrics", api.admin).body.decode()
        lines = re.findall(r'^portico_detection_cache_total\{outcome="(\w+)"\} (\S+)$', shown, re.MULTILINE)
        return {outcome: float(count) for outcome, count in lines}

    within(10, lambda: counted() == {"miss": 2.0, "hit": 1.0, "joined": 0.0, "bypassed": 1.0})


def test_the_second_answer_is_marked_and_no_engine_is_asked(api: Api, engine: Engine, keys: Any) -> None:
    mine = text()
    first, second, third = (ask(api, key, mine, include_reasoning=True) for key in (*keys[:1], *keys[:2]))
    assert (first["cache_hit"], second["cache_hit"], third["cache_hit"]) == (False, True, True)
    assert without(first) == without(second) == without(third)
    assert first["request_id"] != second["request_id"]
    assert asked(engine, mine) == 1
    assert ask(api, keys[0], mine)["reason"] == ""


def test_two_tenants_never_get_each_other_s_answers(api: Api, engine: Engine, keys: Any) -> None:
    for first, second in ((keys[0], keys[2]), (keys[2], keys[0])):
        shared = text()
        ask(api, first, shared)
        engine.answer = lambda _request, _connection: telling(confidence=0.1)
        theirs = ask(api, second, shared)
        assert (theirs["cache_hit"], theirs["confidence"]) == (False, 0.1)
        engine.answer = lambda _request, _connection: telling()
        assert ask(api, first, shared)["confidence"] == 0.83
        assert asked(engine, shared) == 2


@pytest.mark.parametrize("said", ["no-cache", "max-age=0, No-Store"])
def test_a_request_can_do_without(api: Api, engine: Engine, keys: Any, said: str) -> None:
    mine = text()
    assert not ask(api, keys[0], mine, said)["cache_hit"]
    assert not ask(api, keys[0], mine)["cache_hit"]  # it was not kept
    assert not ask(api, keys[0], mine, said)["cache_hit"]
    assert ask(api, keys[0], mine)["cache_hit"]
    assert asked(engine, mine) == 3


def test_another_threshold_is_another_question(api: Api, engine: Engine, keys: Any) -> None:
    mine = text()
    assert ask(api, keys[0], mine)["is_malicious"]
    strict = ask(api, keys[0], mine, confidence_threshold=0.9)
    assert (strict["is_malicious"], strict["threat_types"], strict["cache_hit"]) == (False, [], False)
    assert ask(api, keys[0], mine, confidence_threshold=0.9)["cache_hit"]
    assert asked(engine, mine) == 2


def test_many_at_once_make_one_call_of_each_process(api: Api, engine: Engine, keys: Any, store: str) -> None:
    mine, ready, release = text(), threading.Barrier(21), threading.Event()

    def slow(_request: Request, _connection: Connection) -> bytes:
        release.wait(4)
        return telling()

    def one(_: int) -> dict[str, Any]:
        ready.wait(10)
        return ask(api, keys[0], mine)

    engine.answer = slow
    with ThreadPoolExecutor(20) as pool:
        waiting = pool.map(one, range(20))
        ready.wait(10)
        within(10, lambda: asked(engine, mine) >= 1)
        release.wait(1)  # the others come meanwhile; whoever comes later finds the answer
        release.set()
        found = list(waiting)
    assert asked(engine, mine) in range(1, processes(store) + 1)
    assert {each["confidence"] for each in found} == {0.83}
    assert not all(each["cache_hit"] for each in found)


def test_what_a_stand_in_says_is_not_kept(api: Api, engine: Engine, keys: Any) -> None:
    mine = text()
    engine.answer = lambda _request, _connection: telling(status=500)
    for _ in range(2):
        poor = ask(api, keys[0], mine)
        assert (poor["degraded"], poor["engine"], poor["cache_hit"]) == (True, "embedded", False)
    engine.answer = lambda _request, _connection: telling()
    good = ask(api, keys[0], mine)
    assert (good["degraded"], good["engine"], good["cache_hit"]) == (False, "main", False)
    assert ask(api, keys[0], mine)["cache_hit"]


def test_the_embedded_detector_s_answers_are_given_again_for_their_time(api: Api, keys: Any, store: str) -> None:
    configure(api, settings(store, ttl="1s"))
    mine = text()
    first = ask(api, keys[0], mine, include_reasoning=True)
    assert first["engine"] == "embedded"
    second: dict[str, Any] = {}

    def hit() -> bool:
        second.update(ask(api, keys[0], mine, include_reasoning=True))
        return bool(second["cache_hit"])

    within(10, hit)
    assert without(second) == without(first)
    within(10, lambda: not hit())
    configure(api, settings(store, ttl="0s"))
    assert [ask(api, keys[0], mine)["cache_hit"] for _ in range(3)] == [False] * 3


def configure(api: Api, config: dict[str, Any]) -> None:
    api.gateway.rewrite(config)
    api.gateway.reload()


@pytest.mark.long
def test_processes_share_answers_in_redis_and_do_without_when_it_dies(engine: Engine) -> None:
    engine.answer = lambda _request, _connection: telling()
    with private_redis() as server, GatewayHarness(settings(server.url, engine.url)) as gateway:
        texts = Detecting(Api(gateway))
        mine = text()
        found = [ask(texts.api, texts.key, mine)["cache_hit"] for _ in range(12)]
        assert found == [False] + [True] * 11
        assert asked(engine, mine) == 1
        server.kill()
        fresh = text()
        for _ in range(3):
            assert ask(texts.api, texts.key, fresh)["confidence"] == 0.83
        assert asked(engine, fresh) >= 1  # by each process that was asked, which then remembers
