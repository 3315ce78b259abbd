"""Who judges the texts of `portico detect`: the embedded detector in this process, or a gateway."""

from __future__ import annotations

import http.client
import json
import random
import time
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from portico.errors import CommandError

WAIT: Final = 30.0  # seconds for one answer
TRIES: Final = 4
LONGEST: Final = 120.0  # seconds that a gateway may ask to wait
MOST: Final = 1024 * 1024  # bytes of an answer
REFUSES_TEXT: Final = (400, 413, 422)


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, with the names that the gateway's API has."""

    is_malicious: bool
    confidence: float
    threat_types: list[str]
    reason: str
    engine: str
    degraded: bool

    def shown(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


class Unfit(ValueError):
    """This text can't be judged, whoever is asked; another can."""


class Judge(Protocol):
    """Something that judges texts."""

    def judge(self, text: str) -> Judged:
        """The verdict; Unfit where the text is none, CommandError where nothing can be judged at present."""
        ...


class Embedded:
    """The detector of this very installation; it needs no gateway and no network."""

    def __init__(self, threshold: float) -> None:
        from portico.detection import Detector, Settings

        self._detector = Detector()
        self._settings = Settings(threshold)

    def judge(self, text: str) -> Judged:
        """The verdict."""
        from portico.detection import UnfitText, check_text

        try:
            check_text(text)
        except UnfitText as error:
            raise Unfit(str(error)) from None
        found = self._detector.detect(text, self._settings)
        types = list(found.threat_types)
        return Judged(found.is_malicious, found.confidence, types, found.reason, "embedded", degraded=False)


class Gateway:
    """A gateway at `url`, asked as `key` (an API key or an access token), one text after the other."""

    def __init__(self, url: str, key: str, threshold: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise CommandError("--url must be such as http://127.0.0.1:8771, without credentials or a query")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._shown = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path.rstrip("/") + "/api/v1/detect"
        self._http = kind(parts.hostname, parts.port, timeout=WAIT)
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._config = {"confidence_threshold": threshold, "include_reasoning": True}

    def judge(self, text: str) -> Judged:
        """The verdict. Judging twice does no harm, so whatever broke is tried again."""
        body = json.dumps({"text": text, "config": self._config}).encode()
        for tried in range(1, TRIES + 1):
            try:
                status, pause, answer = self._ask(body)
            except (OSError, http.client.HTTPException) as error:
                self._http.close()
                if tried == TRIES:
                    raise CommandError(f"{self._shown} does not answer: {error or type(error).__name__}") from None
                time.sleep(random.uniform(0, 0.2 * 2**tried))
                continue
            if status == 200:
                return _verdict(answer)
            if status in REFUSES_TEXT:
                raise Unfit(_sentence(answer, status))
            if status not in (429, 503) or pause > LONGEST or tried == TRIES:
                raise CommandError(f"{self._shown} refused: {_sentence(answer, status)}")
            time.sleep(pause + random.uniform(0, 0.1))
        raise AssertionError("the last try ends")

    def _ask(self, body: bytes) -> tuple[int, float, Any]:
        """Status, the seconds of Retry-After, and the JSON of the answer."""
        self._http.request("POST", self._path, body, self._headers)
        response = self._http.getresponse()
        data = response.read(MOST)
        if not response.isclosed():
            self._http.close()  # more than any answer has; nothing of it is taken
            data = b""
        pause = response.headers.get("Retry-After", "")
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = None
        return response.status, float(pause) if pause.isdecimal() else 1.0, answer


def _verdict(answer: Any) -> Judged:
    try:
        found = Judged(
            answer["is_malicious"],
            float(answer["confidence"]),
            [str(each) for each in answer["threat_types"]],
            str(answer["reason"]),
            str(answer["engine"]),
            bool(answer["degraded"]),
        )
    except (TypeError, KeyError, ValueError):
        found = None
    if found is None or not isinstance(found.is_malicious, bool) or not 0 <= found.confidence <= 1:
        raise CommandError("the answer is no verdict: is a Portico gateway at --url?")
    return found


def _sentence(answer: Any, status: int) -> str:
    """What a problem says, as one sentence."""
    if not isinstance(answer, dict):
        return f"status {status}"
    errors = answer.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("message", ""))
    return f"{answer.get('code', status)}: {answer.get('detail', '')}"
