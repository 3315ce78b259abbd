"""Every error that Portico raises on purpose, in one tree.

    PorticoError
    ├── ConfigError            the configuration file can't be used; carries every Problem found
    ├── VariableError          an environment variable has a value that can't be
    ├── PluginError            a plugin can't be found, ordered, or started
    ├── ContainerError         a service was provided twice, is missing, or came after sealing
    ├── StartError             the gateway can't start: an address in use, a child that fails
    ├── AlreadyRunning         another process holds the data directory
    ├── NotRunning             no gateway answers for the data directory
    ├── ControlError           the control socket answered with a refusal
    │   └── NotReady           the process that would do it is starting
    ├── TlsError               a certificate, key or list of authorities can't be used
    ├── CompiledError          compiled modules were demanded and can't be used
    ├── ChannelError           the channel between supervisor and child is gone, or carries what it must not
    ├── VaultError             the vault can't be opened: a wrong secret, a missing or damaged file, too open a mode
    ├── BackupError            a backup can't be made, read or restored
    ├── AuditError             an export or a file of heads can't be read, or the trail is not as it was written
    ├── StorageError           the database can't be used: another's key, an older or newer schema, a bad address
    │   └── StorageUnavailable it can't at this moment: a full disk, a server that is away; worth trying again
    ├── AccountError           keys, people and sessions: what was asked breaks one of their rules
    │   ├── Invalid            a value that can't be, such as a permission that is none
    │   ├── Taken              the name or address belongs to someone already
    │   ├── Missing            there is no such key, person or session, or it is another tenant's
    │   ├── Unknown            a refresh token or invitation that is not valid, or not any more
    │   ├── Reused             a refresh token that had been used before; its session has been ended
    │   └── Busy               too many passwords are being checked at once
    ├── CommandError           a command for keys, people or tokens has an argument that can't be
    ├── TokenError             a token is not accepted; carries the code that the caller is told
    ├── ServicesAway           the edge can't ask the services about a caller
    ├── EngineFailed           a detection engine gave no verdict
    ├── StateUnavailable       the shared state gave no answer in time, or is away
    └── OutboundError          a call to someone else's address failed; no sentence tells an address
        ├── AddressRefused     the address is not one that may be called
        ├── OutboundTimeout    it took longer than it may
        │   └── ConnectTimeout it was not even connected in time
        ├── OutboundUnreachable  no connection: the name, the network or TLS
        ├── OutboundBusy       too many calls at once
        ├── OutboundTooLarge   the answer is larger than it may be
        └── OutboundMalformed  the answer is not proper HTTP, or leads where it may not

Errors that become an HTTP answer are not exceptions: the edge answers with `Response` values, and the services with
`portico.services.problems`. Both write RFC 9457 problem+json with `code`, `request_id` and `hint`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


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


class VariableError(PorticoError):
    """An environment variable of Portico's has a value that can't be; the message never shows a secret."""

    hint = "`.env.example` lists the variables, docs/reference/environment.md explains them"


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

    def __init__(self, message: str, by_command: bool = False) -> None:
        super().__init__(message)
        self.by_command = by_command  # a command that will be done soon, not a gateway


class NotRunning(PorticoError):
    """No gateway answers for this data directory."""

    hint = "`portico up` starts one; -c or --data-dir says where to look"


class ControlError(PorticoError):
    """The running gateway refused what was asked of it; `hint` is what it said about that."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NotReady(ControlError):
    """The running gateway can't do it yet: the process that would is starting."""


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


class StateUnavailable(PorticoError):
    """The shared state gave no answer within its time, refused, or is known to be away; the caller does without."""

    hint = "is the store of `state.url` running and reachable?"


class OutboundError(PorticoError):
    """A call to someone else's address failed. The message names no address, so that it may be shown to anyone."""


class AddressRefused(OutboundError):
    """The URL or the address that it leads to is not one that may be called."""

    hint = "only public http and https addresses may be called"


class OutboundTimeout(OutboundError):
    """Connecting, or the whole call, took longer than it may."""


class ConnectTimeout(OutboundTimeout):
    """There was no connection in time: nothing has been sent."""


class OutboundUnreachable(OutboundError):
    """No connection could be made, or it broke: name, network or TLS."""


class OutboundBusy(OutboundError):
    """Too many calls are in flight at once."""


class OutboundTooLarge(OutboundError):
    """The answer's head or body is larger than it may be, before or after decompression."""


class OutboundMalformed(OutboundError):
    """The answer is not proper HTTP, has a coding that was not asked for, or redirects where it may not."""


class EngineFailed(PorticoError):
    """A detection engine gave no verdict. The message names neither it nor its address.

    `word` is what metrics call it; `late`: time ran out; `again`: another try may help; `blamed`: it counts against the
    engine, which it does not where the text may be why.
    """

    def __init__(
        self, word: str, message: str, *, late: bool = False, again: bool = False, blamed: bool = True
    ) -> None:
        super().__init__(message)
        self.word = word
        self.late = late
        self.again = again
        self.blamed = blamed


class VaultError(PorticoError):
    """The vault can't be opened or changed; the message is one sentence that says what to do, and holds no secret."""


class BackupError(PorticoError):
    """A backup can't be made, read or restored; whatever was there before is still there."""


class AuditError(PorticoError):
    """An export of the audit trail or a file of its heads can't be read, or the trail is not as it was written."""


class StorageError(PorticoError):
    """The database can't be used; the message says why, and carries no password."""


class StorageUnavailable(StorageError):
    """The database can't be used at this moment; nothing of what was asked has been done."""

    hint = "try again; `portico status` shows the database's state"


class AccountError(PorticoError):
    """What was asked of keys, people or sessions breaks one of their rules; the message is fit for the caller."""


class Invalid(AccountError):
    """A value that can't be; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


class Taken(AccountError):
    """The name or address belongs to someone already."""


class Missing(AccountError):
    """There is no such key, person or session; another tenant's looks the same."""


class Unknown(AccountError):
    """A refresh token or invitation that is not valid, or not any more."""


class Reused(AccountError):
    """A refresh token that had been used before: it was copied. Its session has been ended."""


class Busy(AccountError):
    """Too many passwords are being checked at once; the caller may try again in a moment."""


class JobError(PorticoError):
    """Something about a job: the base of what handlers raise and are told."""


class RetryLater(JobError):
    """Raised by a job's handler: not now. `after` is in seconds; None: as the handler's back-off says."""

    def __init__(self, message: str = "put off", after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class GiveUp(JobError):
    """Raised by a job's handler: trying again is of no use."""


class LeaseLost(JobError):
    """The job is not this worker's any more: it was too slow to say that it lives, or the job was cancelled."""


class JobRefused(JobError):
    """What was to be enqueued or scheduled can't be; the message is fit for the caller."""


class CommandError(PorticoError):
    """An argument of a command can't be; the message is one sentence that names it."""


class TokenError(PorticoError):
    """A token is not accepted. `code` is what the caller is told, `issuer` whose key is missing, if that is why."""

    RANKS: ClassVar = {"token_unknown_key": 1, "token_signature": 2}

    def __init__(self, code: str, message: str, issuer: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.issuer = issuer

    @property
    def rank(self) -> int:
        """How far the verification came: 0 not to the key, 3 past the signature."""
        late = self.code in ("token_claims", "token_audience", "token_expired", "token_not_yet")
        return self.RANKS.get(self.code, 3 if late else 0)


class ServicesAway(PorticoError):
    """The services did not answer the edge: they are away, too slow, or too much is being asked of them."""
