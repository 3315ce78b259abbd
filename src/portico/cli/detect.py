"""`portico detect`: whether texts try to take over a language model, without a gateway or by one."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from portico.cli.options import Json

if TYPE_CHECKING:
    from portico.cli.detect_judges import Judge, Judged
    from portico.cli.detect_lines import Step, Tally

URL: Final = "PORTICO_URL"
KEY: Final = "PORTICO_API_KEY"
STDIN: Final = "-"
MOST: Final = 1024 * 1024  # characters that are read of standard input


def run(
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help='The text; "-" reads standard input.')] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help='JSON Lines: {"text": …} and, if you like, "id".')
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where verdicts go; a later run with the same goes on.")
    ] = None,
    threshold: Annotated[float, typer.Option(metavar="0…1", help="Malicious from here on.", min=0, max=1)] = 0.6,
    url: Annotated[str, typer.Option(metavar="URL", envvar=URL, help="A gateway to ask instead.")] = "",
    key: Annotated[
        str, typer.Option(metavar="KEY", envvar=KEY, help="Who asks it; better in the environment than here.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Judge a text, or a file of them. Ends with 6 when the text is malicious, with 7 when lines were set aside."""
    if (text is None) == (file is None):
        raise typer.BadParameter("give either a TEXT or --file")
    if out is not None and file is None:
        raise typer.BadParameter("--out goes with --file")
    from portico.cli.detect_judges import Embedded, Gateway

    os.environ.pop(KEY, None)
    judge = Gateway(url, key, threshold) if url else Embedded(threshold)
    if file is None:
        _one(judge, text or "", as_json)
    else:
        _file(judge, threshold, file, out, as_json)


def _one(judge: Judge, text: str, as_json: bool) -> None:
    from portico.cli import exits, output
    from portico.cli.detect_judges import Unfit
    from portico.errors import CommandError

    if text == STDIN:
        text = sys.stdin.buffer.read(MOST).decode("utf-8", "surrogateescape")
    try:
        found = judge.judge(text)
    except Unfit as error:
        raise CommandError(str(error)) from None
    output.show(found.shown(), _lines(found), as_json)
    if found.is_malicious:
        raise typer.Exit(exits.MALICIOUS)


def _lines(found: Judged) -> Iterator[str]:
    word = "malicious" if found.is_malicious else "benign"
    yield f"{word}  {found.confidence:.3f}  {', '.join(found.threat_types)}".rstrip()
    if found.reason:
        yield found.reason


def _file(judge: Judge, threshold: float, file: Path, out: Path | None, as_json: bool) -> None:
    from portico.cli import exits, output
    from portico.cli.detect_lines import Run, Tally, rejects
    from portico.errors import CommandError

    if out is not None and (out.resolve() == file.resolve() or rejects(out).resolve() == file.resolve()):
        raise CommandError("--out would overwrite the input; name another file")
    tally = Tally()
    try:
        with file.open("rb") as source, _progress(file) as step:
            if out is None:
                _printed(judge, threshold, source, tally)
            else:
                run = Run(judge, threshold, out)
                tally = run.tally
                run.run(source, step)
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from here" if out is not None else ""
        print(f"interrupted; {_told(tally)}{goes_on}", file=sys.stderr)
        raise typer.Exit(exits.INTERRUPTED) from None
    except BrokenPipeError:
        raise  # whoever read the verdicts has seen enough; `main` knows
    except OSError as error:
        raise CommandError(f"can't read {file} or write beside it: {error.strerror or error}") from None
    if out is None:
        print(_told(tally), file=sys.stderr)
    else:
        aside = str(rejects(out)) if rejects(out).exists() else None
        told = {**vars(tally), "out": str(out), "rejected_out": aside}
        output.show(told, [_told(tally), *([f"what could not be judged: {aside}"] if aside else [])], as_json)
    if tally.rejected or (out is not None and rejects(out).exists()):
        raise typer.Exit(exits.INCOMPLETE)


def _printed(judge: Judge, threshold: float, source: object, tally: Tally) -> None:
    """Verdicts as JSON Lines on standard output; what is wrong with a line on standard error."""
    import json
    from typing import BinaryIO, cast

    from portico.cli.detect_lines import judged, lines

    for line in lines(cast(BinaryIO, source)):
        record = judged(judge, line, threshold)
        if "error" in record:
            print(f"line {line.number}: {record['error']}", file=sys.stderr)
            tally.rejected += 1
        else:
            print(json.dumps(record), flush=True)
            tally.judged += 1
            tally.malicious += record["is_malicious"]


@contextlib.contextmanager
def _progress(file: Path) -> Iterator[Step]:
    """A bar on standard error where people look at it, else nothing."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(file.name, total=file.stat().st_size)
        yield lambda done: progress.update(task, completed=done)


def _told(tally: Tally) -> str:
    skipped = f", {tally.skipped} done before" if tally.skipped else ""
    return f"{tally.judged} judged, {tally.malicious} malicious, {tally.rejected} rejected{skipped}"
