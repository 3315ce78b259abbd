"""`jobs` in portico.yaml."""

from __future__ import annotations

import importlib.util

import pytest

from portico import contracts
from portico.config.compile import compile_snapshot
from portico.errors import ConfigError
from portico.runtime.options import EDGE, SERVICES
from portico.runtime.secret import for_role

from .conftest import Read

CELERY = "jobs: {executor: celery, broker: 'rediss://:hunter22@broker.example/3'}"


def test_the_broker_may_have_a_password_which_is_not_shown_nor_told_to_the_edge(read: Read) -> None:
    settings = read(CELERY)
    found = settings.jobs.plain()
    assert (found.executor, found.broker) == ("celery", "rediss://:hunter22@broker.example/3")
    assert "hunter22" not in repr(settings.jobs)
    assert "hunter22" not in repr(found)
    snapshot = compile_snapshot(settings, version=1).snapshot
    assert "hunter22" not in contracts.dump(for_role(snapshot, EDGE))
    assert for_role(snapshot, SERVICES).jobs == found


@pytest.mark.parametrize("url", ["amqp://portico:hunter22@rabbit.example/portico", "amqps://rabbit.example"])
def test_rabbitmq_is_accepted(read: Read, url: str) -> None:
    assert read(f"jobs: {{executor: celery, broker: '{url}'}}").jobs.plain().broker == url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{executor: cellery}", "did you mean"),
        ("{executor: celery}", "where Celery's workers get their messages"),
        ("{broker: 'redis://127.0.0.1/0'}", "is for `executor: celery`"),
        ("{executor: celery, broker: 'memory://hunter22'}", "must be redis://"),
    ],
)
def test_what_makes_no_sense_is_refused(read: Read, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read(f"jobs: {text}")
    assert "hunter22" not in str(caught.value)


def test_celery_must_be_installed(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr("portico.config.jobs.find_spec", lambda name: None if name == "celery" else there(name))
    with pytest.raises(ConfigError, match=r"pip install 'portico\[celery\]'"):
        read(CELERY)
