"""What Pydantic found → sentences that say what is wrong and what is allowed, and never show a value."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from portico.config.scalars import nearest
from portico.config.walk import keys_of, model_at

_SENTENCES: Final = {
    "missing": "is required",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list, such as [one, two]",
    "union_tag_not_found": "must be one of {rate: …}, {window: …}, {quota: …} and {concurrent: …}",
}


def sentence(error: ErrorDetails, root: type[BaseModel] | None = None) -> str:
    """The message for one error that Pydantic reports about `root`; without it no known key is named."""
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown(error, root) if root is not None else "unknown key"
    known = _SENTENCES.get(kind)
    if known is not None:
        return known
    text = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if text.startswith("Input should be "):
        return "must be " + text.removeprefix("Input should be ")
    return text


def suggested(error: ErrorDetails, root: type[BaseModel]) -> str:
    """For an unknown key: the known one that it is probably meant to be, or ""."""
    if error["type"] != "extra_forbidden":
        return ""
    hint = nearest(error["loc"][-1], _keys(error, root))
    return hint.split("'")[1] if hint else ""


def _unknown(error: ErrorDetails, root: type[BaseModel]) -> str:
    keys = _keys(error, root)
    near = suggested(error, root)
    hint = f"did you mean {near!r}? " if near else ""
    return f"unknown key; {hint}allowed here: {', '.join(keys)}" if keys else "unknown key; none is allowed here"


def _keys(error: ErrorDetails, root: type[BaseModel]) -> dict[str, Any]:
    model = model_at(root, error["loc"][:-1])
    return keys_of(model) if model is not None else {}
