"""What there is to read in a body: the texts in JSON, at paths or all of them, and the words in a stream of events.

Pure functions. A text may stand in a message as such, or in parts (`{"type": "text", "text": …}`), in what a tool has
answered, anywhere: all strings below a place count. Left out are words that only say what something is (`"type":
"text"`), and data in base64, such as images, but under names that are for text. Names count as texts unless they are
plain words: whoever reads a body whole reads them too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from portico.detection import OVERLAP
from portico.services.inputs import JsonError, parse

Path = list[str | int | None]

CHANNELS: Final = 16  # of one stream that are told apart, such as the choices of a completion
LABELS: Final = frozenset(
    {"type", "role", "id", "object", "model", "finish_reason", "system_fingerprint", "service_tier"}
)
PROSE: Final = frozenset({"text", "content", "input", "output", "arguments", "delta", ""})
FIELDS: Final = frozenset({"event", "id", "retry"})  # of an event, beside its data
_LABEL: Final = re.compile(r"[\w.:/-]{1,64}", re.ASCII)
_DATA: Final = re.compile(r"(?:data:[\w.+/-]+(?:;[\w=.-]+)*;base64,)?[A-Za-z0-9+/_-]{256,}={0,2}", re.ASCII)
_LINE: Final = re.compile(r"\r\n|\r|\n")
_HALF: Final = re.compile("[\ud800-\udfff]")
_MARK: Final = "\ufeff"  # of byte order; readers of event streams drop it (WHATWG HTML 9.2.5)
# Control characters between letters are as invisible as what is put in their place, and no judge expects them.
_UNSEEN: Final = dict.fromkeys([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F], "\u200b")


def of_json(payload: bytes, paths: list[Path]) -> list[str]:
    """The texts at `paths` of a JSON body, each with its parts joined by line ends. JsonError when it can't be read."""
    value = parse(payload, any_text=True)
    found = ["\n".join(strings(each)) for path in paths for each in select(value, path)]
    return [whole(text) for text in found if text.strip()]


def of_text(payload: bytes) -> list[str]:
    """A text body; if it is JSON, whatever it says that it is, also the texts in it."""
    text = payload.decode("utf-8", "replace")
    found = [text]
    if text.lstrip()[:1] in ("{", "["):
        try:
            found += ["\n".join(strings(parse(payload, any_text=True)))]
        except JsonError:
            found += [unescaped(text)]
    return [whole(each) for each in found if each.strip()]


def select(value: Any, path: Path) -> Iterator[Any]:
    """The values at `path`: a name, a number (from the end when negative), or None for all of a list or object.

    A name is found in any case: there are upstreams (Go's encoding/json) that read `Messages` as `messages`.
    """
    level = [value]
    for step in path:
        below: list[Any] = []
        for each in level:
            if step is None:
                below += each if isinstance(each, list) else each.values() if isinstance(each, dict) else ()
            elif isinstance(step, str):
                below += _named(each, step.casefold()) if isinstance(each, dict) else []
            elif isinstance(each, list) and -len(each) <= step < len(each):
                below.append(each[step])
        level = below
    yield from level


def _named(value: dict[str, Any], folded: str) -> list[Any]:
    return [each for name, each in value.items() if name.casefold() == folded]


def strings(value: Any, name: str = "") -> Iterator[str]:
    """The texts below `value`, in their order; `name` is what it is called."""
    if isinstance(value, str):
        if not (name in LABELS and _LABEL.fullmatch(value)) and not (name not in PROSE and _DATA.fullmatch(value)):
            yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            if key and not _LABEL.fullmatch(key):
                yield key
            yield from strings(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def of_events(payload: bytes) -> dict[str, str]:
    """The new words in some events of a stream (WHATWG HTML, server-sent events), by channel.

    Pieces of OpenAI-style chunks (`choices[].delta`) and of other `delta`s are joined without anything between them.
    """
    found: dict[str, str] = {}
    for data in events(payload.decode("utf-8", "replace")):
        for channel, text in words(data):
            name = channel if channel in found or len(found) < CHANNELS else ""
            found[name] = found.get(name, "") + text
    return {name: whole(text) for name, text in found.items() if text}


def events(text: str) -> Iterator[str]:
    """The data of each event; all other lines too, by themselves, for whoever reads the stream as text sees them."""
    data: list[str] = []
    for line in _LINE.split(text):
        name, _, value = line.removeprefix(_MARK).partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield "\n".join(data)
            data = []
        elif name == "data":
            data.append(value)
        elif not (name in FIELDS and _LABEL.fullmatch(value)):
            yield f"{name} {value}".strip()
    if data:
        yield "\n".join(data)


def words(data: str) -> Iterator[tuple[str, str]]:
    """What one event says, and in which channel."""
    if data.strip() == "[DONE]":
        return
    try:
        value = parse(data.encode("utf-8", "replace"), any_text=True)
    except JsonError:
        yield "", unescaped(data) + "\n"
        return
    choices = value.get("choices") if isinstance(value, dict) else None
    if isinstance(choices, list):
        for place, choice in enumerate(choices):
            index = choice.get("index", place) if isinstance(choice, dict) else place
            yield f"choice {index}"[:32], "".join(strings(choice))
    elif isinstance(value, dict) and "delta" in value:
        index = value.get("output_index", value.get("index", ""))
        yield f"delta {index}"[:32], "".join(strings(value["delta"], "delta"))
    else:
        said = "\n".join(strings(value))
        if said:
            yield "", said + "\n"


def carried(before: dict[str, str], fresh: dict[str, str]) -> dict[str, str]:
    """The texts to be judged: what is new behind the end of what was there before."""
    return {name: before.get(name, "") + text for name, text in fresh.items()}


def carry(before: dict[str, str], texts: dict[str, str]) -> dict[str, str]:
    """What the next piece is judged behind: the ends of the texts so far, the newest channels last."""
    ends = {name: text for name, text in before.items() if name not in texts}
    ends |= {name: text[-OVERLAP:] for name, text in texts.items()}
    return dict(list(ends.items())[-CHANNELS:])


def unescaped(text: str) -> str:
    """Text that is nearly JSON, with its escapes undone, so that they hide nothing."""
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text).replace("\\n", "\n")


def whole(text: str) -> str:
    """The text with surrogates paired, a mark for each that has no other half, and no control characters."""
    text = text.translate(_UNSEEN)
    if not _HALF.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
