"""Every error that Portico raises on purpose, in one tree.

    PorticoError
    ├── ConfigError            the configuration file can't be used; carries every Problem found
    ├── PluginError            a plugin can't be found, ordered, or started
    ├── ContainerError         a service was provided twice, is missing, or came after sealing
    ├── StartError             the gateway can't start: an address in use, a child that fails
    ├── AlreadyRunning         another process holds the data directory
    ├── NotRunning             no gateway answers for the data directory
    ├── ControlError           the control socket answered with a refusal
    ├── TlsError               a certificate, key or list of authorities can't be used
    ├── CompiledError          compiled modules were demanded and can't be used
    └── ChannelError           the channel between supervisor and child is gone, or carries what it must not

Errors that become an HTTP answer are not exceptions: the edge answers with `Response` values, and the services with
`portico.services.problems`. Both write RFC 9457 problem+json with `code`, `request_id` and `hint`.
"""

from __future__ import annotations

from dataclasses import dataclass


class PorticoError(Exception):
    """Base of all; `hint` says what the reader can do about it."""

    hint = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path}: {self.message}"


class ConfigError(PorticoError):
    """A configuration was refused whole; `problems` lists everything that is wrong with it."""

    hint = "correct the file; `portico check FILE` shows the same list"

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class PluginError(PorticoError):
    """A plugin can't be found, ordered or started; the message names it and the cause."""


class ContainerError(PorticoError):
    """A service was provided twice, is missing, or came after the container was sealed."""


class StartError(PorticoError):
    """The gateway can't start; `hint` may say more than the class's own."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class AlreadyRunning(PorticoError):
    """Another supervisor holds the data directory."""

    hint = "`portico down` stops it; or choose another --data-dir"


class NotRunning(PorticoError):
    """No gateway answers for this data directory."""

    hint = "`portico up` starts one; -c or --data-dir says where to look"


class ControlError(PorticoError):
    """The running gateway refused what was asked of it."""


class TlsError(PorticoError):
    """A certificate, key or list of authorities can't be used; `path` is its key below the `tls` section."""

    hint = "the file must be there, readable by Portico's user, and PEM"

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


class CompiledError(PorticoError):
    """PORTICO_COMPILED=1 demands compiled modules that are missing or older than their sources."""

    hint = "`make compile` builds them; PORTICO_COMPILED=0 runs interpreted"


class ChannelError(PorticoError):
    """The channel between the supervisor and a child is gone, or a message on it is malformed or over its limit."""
