"""What `detection` takes and answers."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from portico.detection import MAX_CHARACTERS, check_text
from portico.services import inputs
from portico.services.values import Body
from portico.services.views import View

METADATA: Final = 16 * 1024  # characters, as JSON
Threat = Literal[
    "jailbreak", "system_prompt_leak", "injection", "data_extraction", "encoding_attack", "delimiter_attack"
]


def _text(value: Any) -> Any:
    if isinstance(value, str):
        check_text(value)
    return value


def _metadata(value: Any) -> Any:
    inputs.check(value)
    if len(json.dumps(value)) > METADATA:
        raise ValueError(f"it has more than {METADATA} characters as JSON")
    return value


Text = Annotated[
    str,
    BeforeValidator(_text),
    Field(
        min_length=1,
        max_length=MAX_CHARACTERS,
        description="No control characters but tab, CR and LF",
        json_schema_extra={"format": "plain-text"},
    ),
]
Metadata = Annotated[
    dict[str, Any], BeforeValidator(_metadata), Field(description="Anything; comes back as it was sent. At most 16 KiB")
]


WebhookUrl = Annotated[str, Field(pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s\\]+$", max_length=2048)]


class DetectConfig(Body):
    """How to judge."""

    confidence_threshold: float = Field(default=0.6, ge=0, le=1, description="From here on a text is malicious")
    include_reasoning: bool = Field(default=False, description="Fill `reason`")


class Detect(Body):
    """A text to be judged."""

    text: Text
    config: DetectConfig = DetectConfig()
    metadata: Metadata | None = None
    webhook_url: WebhookUrl | None = Field(default=None, description="Is told the verdict as well, by a signed webhook")


class Verdict(View):
    """What was found of one text."""

    is_malicious: bool = Field(description="`confidence` has reached the threshold")
    confidence: float = Field(ge=0, le=1)
    threat_types: list[Threat] = Field(description="Empty unless malicious")
    reason: str = Field(description="What was found and where; empty unless asked for, or nobody judged in time")
    processing_time_ms: float = Field(ge=0)
    cache_hit: bool
    engine: str = Field(description="Who judged: an engine by its name, or `embedded`")
    degraded: bool = Field(description="The embedded detector stood in for an engine, or nobody judged in time")


class Detected(Verdict):
    """The verdict on the text of one request."""

    request_id: str
    metadata: dict[str, Any] | None
