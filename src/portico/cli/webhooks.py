"""`portico webhooks listen`: a receiver for development, which prints what arrives and whether its signature fits."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated, Final

import typer

from portico.cli.options import Json

SECRET: Final = "PORTICO_WEBHOOK_SECRET"


def build() -> typer.Typer:
    """The subcommands."""
    group = typer.Typer(help="Webhooks while you develop.", no_args_is_help=True)
    group.command("listen")(listen)
    group.callback()(lambda: None)  # with one command only, typer would leave its name out
    return group


def listen(
    port: Annotated[int, typer.Option(metavar="PORT", help="Where to listen; 0: any free port.", min=0, max=65535)] = 0,
    host: Annotated[str, typer.Option(metavar="HOST", help="The address to listen on.")] = "127.0.0.1",
    secret: Annotated[
        str, typer.Option(metavar="SECRET", envvar=SECRET, help="whsec_…; better in the environment than here.")
    ] = "",
    status: Annotated[int, typer.Option(metavar="STATUS", help="What is answered.", min=200, max=599)] = 200,
    as_json: Json = False,
) -> None:
    """Print every webhook that arrives, until Ctrl-C. With a secret each is verified, or answered 401."""
    from portico.cli.receiver import Receiver
    from portico.errors import CommandError
    from portico.identity import webhooks

    os.environ.pop(SECRET, None)
    try:
        key = webhooks.read(secret) if secret else b""
    except ValueError as error:
        raise CommandError(f"--secret {error}") from None
    try:
        server = Receiver((host, port), key, status, as_json)
    except OSError as error:
        raise CommandError(f"can't listen on {host}:{port}: {error.strerror}") from None
    with server, contextlib.suppress(KeyboardInterrupt):
        print(f"listening on http://{server.shown}/", file=sys.stderr, flush=True)
        server.serve_forever()
