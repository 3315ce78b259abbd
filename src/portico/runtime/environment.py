"""Every environment variable that Portico reads by itself. (A configuration may name others: `${NAME}`.)"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from portico.errors import VariableError

PREFIX: Final = "PORTICO_"
WIDTH: Final = 100


def _any(_: str) -> str:
    return ""


def _given(value: str) -> str:
    return "" if value else "is set and empty; give it a value, or unset it"


def _one_of(*values: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        return "" if value in ("", *values) else f"is one of {', '.join(values)}, not {value!r}"

    return check


@dataclass(frozen=True, slots=True)
class Variable:
    """`purpose` is a sentence; `check` answers what is wrong with a value, or ""; `default` is what stands for none."""

    name: str
    purpose: str
    default: str = ""
    check: Callable[[str], str] = _any


VARIABLES: Final = (
    Variable(
        "PORTICO_PASSPHRASE",
        "Opens the vault, and with it the database. Without it a key file in the data directory does; whoever can read "
        "that file can read everything. No process but the services learns it.",
        check=_given,
    ),
    Variable(
        "PORTICO_NEW_PASSPHRASE",
        "The passphrase that `portico vault change-passphrase` sets, at least 12 characters. Without it, the command "
        "asks.",
        check=_given,
    ),
    Variable(
        "PORTICO_RECOVERY_KEY",
        "The recovery key with which `portico vault recover` opens a vault whose passphrase is lost.",
        check=_given,
    ),
    Variable(
        "PORTICO_WEBHOOK_SECRET",
        "The secret by which `portico webhooks listen` verifies what arrives: whsec_…",
    ),
    Variable(
        "PORTICO_URL",
        "The gateway that `portico detect` and the Python client ask: http://127.0.0.1:8771. Without it, the command "
        "judges by itself.",
    ),
    Variable(
        "PORTICO_API_KEY",
        "The API key or access token with which `portico detect` asks a gateway; the Python client takes an API key.",
    ),
    Variable(
        "PORTICO_COMPILED",
        "How the edge runs: auto takes compiled modules when they are there and fit the sources, 1 demands them, "
        "0 runs interpreted.",
        "auto",
        _one_of("auto", "1", "0"),
    ),
    Variable(
        "PORTICO_COMPILED_DIR",
        "Where the compiled modules are, instead of build/compiled of a checkout or the place they have in a wheel.",
    ),
    Variable(
        "PORTICO_REQUIRE_SERVICES",
        "For the tests: 1 makes a test fail whose PostgreSQL or Redis is missing, instead of skipping it.",
        "0",
        _one_of("0", "1"),
    ),
    Variable(
        "PORTICO_TEST_AMQP",
        "For the tests: a RabbitMQ, as amqp://USER:PASSWORD@HOST:PORT, on which they make a virtual host of their own.",
    ),
    Variable(
        "PORTICO_TEST_POSTGRES",
        "For the tests: the PostgreSQL server on which they make databases of their own, as a user who may.",
        "postgresql://postgres@127.0.0.1:5432/postgres",
    ),
    Variable(
        "PORTICO_TEST_REDIS",
        "For the tests: a Redis that they may empty, where the redis-server program is not installed.",
    ),
)


def refuse(environ: Mapping[str, str]) -> None:
    """VariableError when a variable has a value that can't be. The sentence never shows a secret."""
    for variable in VARIABLES:
        wrong = variable.check(environ[variable.name]) if variable.name in environ else ""
        if wrong:
            raise VariableError(f"the environment variable {variable.name} {wrong}")


def unknown(environ: Mapping[str, str], configuration: str = "") -> Iterator[str]:
    """A sentence for each PORTICO_… variable that neither Portico nor the text of the configuration reads."""
    names = [variable.name for variable in VARIABLES]
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in names and f"${{{name}}}" not in configuration:
            near = get_close_matches(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in names], 1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            yield f"the environment variable {name} is set, and nothing reads it{hint}"


def example() -> str:
    """The text of `.env.example`."""
    lines = [
        "# The environment variables that Portico reads. Copy what you need; a service manager, not Portico, loads it."
    ]
    for variable in VARIABLES:
        lines += ["", *_wrapped(variable.purpose), f"#{variable.name}={variable.default}"]
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> Iterator[str]:
    import textwrap

    yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")
