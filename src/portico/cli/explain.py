"""`portico explain`: what a request would meet, step by step, without sending it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from portico.cli.options import Config, DataDir, Json


def run(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST …")],
    url: Annotated[str, typer.Argument(metavar="URL", help="http://HOST[:PORT]/PATH, or a path alone.")],
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="A field of the request.")
    ] = None,
    body_bytes: Annotated[int, typer.Option(help="How long the body is.", min=0)] = 0,
    client: Annotated[str, typer.Option(metavar="ADDRESS", help="Which address connects.")] = "127.0.0.1",
    live: Annotated[bool, typer.Option("--live", help="Ask the running gateway; nothing is spent there.")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Explain what happens to a request. Which route takes it, what each step answers, and what is sent upstream."""
    from portico.cli.output import show
    from portico.runtime import explain, find
    from portico.runtime.build import Builder
    from portico.runtime.options import UpOptions

    scheme, head = compose(method, url, header or [], body_bytes)
    question = {"head": head, "client": _address(client), "scheme": scheme, "body_bytes": body_bytes}
    if live:
        told = explain.live(find.locate(config, data_dir), question)
    else:
        snapshot = Builder(UpOptions(config=config or find.default_config())).build(1).snapshot
        told = explain.fresh(snapshot, question)
    told = {"live": live, **told}
    show(told, lines(told), as_json)


def compose(method: str, url: str, fields: list[str], body_bytes: int) -> tuple[str, str]:
    """(scheme, request head as Latin-1 text) as a client would send it; whether it is a right one the edge decides."""
    if any(character in text for text in (method, url, *fields) for character in "\r\n"):
        raise typer.BadParameter("a line break can't be sent; give each field with an -H of its own")
    scheme, authority, target = _split(url)
    names = {field.partition(":")[0].strip().lower() for field in fields}
    sent = [f"{method} {target} HTTP/1.1"]
    if "host" not in names:
        sent.append(f"Host: {authority or 'localhost'}")
    sent += fields
    if body_bytes and not names & {"content-length", "transfer-encoding"}:
        sent.append(f"Content-Length: {body_bytes}")
    return scheme, "\r\n".join(sent).encode("utf-8", "surrogateescape").decode("latin-1")


def _split(url: str) -> tuple[str, str, str]:
    """Scheme, authority and request target."""
    url = url.partition("#")[0]
    if url.startswith("/") or url == "*":
        return "http", "", url
    scheme, mark, rest = url.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        raise typer.BadParameter(f"{url!r} is neither http://… or https://… nor a path", param_hint="URL")
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    authority, target = rest[:end], rest[end:]
    if not authority or "@" in authority:
        raise typer.BadParameter("the URL needs a host, without user and password", param_hint="URL")
    return scheme.lower(), authority, target if target.startswith("/") else "/" + target


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not an IP address", param_hint="--client") from None


def lines(told: dict[str, Any]) -> Iterator[str]:
    """An explanation as people read it."""
    whose = "the running gateway takes it now" if told["live"] else "a gateway that has just started takes it"
    how = "compiled" if told["compiled"] else "interpreted"
    request = told["request"]
    if request is not None:
        yield f"{request['method']} {request['target']}  host {request['host'] or '-'}, client {request['client']}"
    yield f"as {whose} (configuration version {told['version']}, edge {how})"
    yield ""
    yield from _route(told)
    yield from _steps(told["steps"])
    yield from _outcome(told)
    cost = told["cost_us"]
    parts = [f"{part} {cost[part]}" for part in ("read", "route", "head") if cost[part] is not None]
    steps = round(sum(step["cost_us"] or 0.0 for step in told["steps"]), 1)
    yield f"cost     {', '.join([*parts[:2], f'steps {steps}', *parts[2:]])}; {cost['total']} µs in all"


def _route(told: dict[str, Any]) -> Iterator[str]:
    match = told.get("match")
    if told["request"] is None:
        yield "route    none: the head can't be read"
    elif match is None:
        yield "route    none: /_portico is reached from no listener"
    elif told["route"] is None:
        yield "route    none"
    else:
        pattern = match["pattern"]
        params = ", ".join(f"{name}={value}" for name, value in told["route"]["params"].items())
        host = f"host {pattern['host']}" if pattern["host"] else "any host"
        yield f"route    {told['route']['name']}  ({host}, {pattern['path']}{', ' + params if params else ''})"
    for other in match["passed_over"] if match else ():
        yield f"  not    {other['route']}  {other['host']}{other['path']}: {other['why']}"
    if match and match["more"]:
        yield f"  nor    {match['more']} more that are further from it"
    yield ""


def _steps(steps: list[dict[str, Any]]) -> Iterator[str]:
    from portico.cli.output import table

    if not steps:
        return
    rows = []
    for step in steps:
        answer = f"{step['status']} {step['code']}".rstrip() if "status" in step else step["outcome"]
        why = "; ".join(step["why"])
        cost = "" if step["cost_us"] is None else f"{step['cost_us']} µs"
        rows.append((step["phase"], step["policy"], cost, f"{answer}: {why}" if why else answer))
    yield from table(("phase", "step", "cost", "answer"), rows)
    yield ""


def _outcome(told: dict[str, Any]) -> Iterator[str]:
    answer, forward = told["answer"], told["forward"]
    if answer is not None:
        yield f"answer   {answer['status']} {answer['code']}".rstrip()
        yield from (f"  {text}" for text in (answer["detail"], f"hint: {answer['hint']}") if text and answer["hint"])
        yield from (f"  {line}" for line in answer["fields"])
    elif forward is not None:
        yield f"forward  {forward['upstream']} → {forward['target']}"
        yield from (f"  {line}" for line in forward["head"])
    else:
        yield "answer   the edge's own"
    if not told["certain"]:
        live = "" if told["live"] else "; `--live` asks the running gateway"
        yield f"  not certain: a step that was not asked may answer instead{live}"
    yield ""
