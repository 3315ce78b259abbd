"""The API documentation as one HTML page that loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any, Final

METHODS: Final = ("get", "head", "post", "put", "patch", "delete", "options", "trace")
STYLE: Final = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
details{border:1px solid #8886;border-radius:.4rem;margin:.5rem 0;padding:.5rem .8rem}
summary{cursor:pointer}
code,pre{font:.875rem/1.45 ui-monospace,monospace}
pre{overflow:auto;padding:.6rem;border:1px solid #8886;border-radius:.3rem}
.method{display:inline-block;min-width:4.5rem;font-weight:700}
table{border-collapse:collapse;width:100%}
td{overflow-wrap:anywhere}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #8884}
"""
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'"
)


def render(document: dict[str, Any]) -> str:
    """The page for an OpenAPI 3 document. Everything of the document is escaped."""
    info = document.get("info", {})
    title = escape(f"{info.get('title', 'API')} {info.get('version', '')}".strip())
    return "".join([
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>",
        "<p>API keys are sent as <code>X-API-Key</code>, keys and tokens as <code>Authorization: Bearer</code>. ",
        'The same for machines: <a href="/openapi.json"><code>/openapi.json</code></a></p>',
        *_operations(document.get("paths", {})),
        *_schemas(document.get("components", {}).get("schemas", {})),
        "</body></html>",
    ])  # fmt: skip


def _operations(paths: dict[str, Any]) -> Iterator[str]:
    yield "<h2>Operations</h2>"
    for path, item in sorted(paths.items()):
        for method in METHODS:
            if method in item:
                yield from _operation(method, path, item[method])


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<details><summary><span class="method">{method.upper()}</span> <code>{escape(path)}</code> '
    yield f"{_text(operation.get('summary', ''))}</summary>"
    if operation.get("description"):
        yield f"<p>{_text(operation['description'])}</p>"
    if operation.get("parameters"):
        yield "<h4>Parameters</h4><table>"
        for each in operation["parameters"]:
            needed = "required" if each.get("required") else "optional"
            where = f"in {escape(each.get('in', ''))}, {needed}"
            yield _row(f"{each.get('name', '')}", where, _text(each.get("description", "")))
        yield "</table>"
    if "requestBody" in operation:
        yield "<h4>Body</h4>" + _content(operation["requestBody"].get("content", {}), whole=True)
    yield "<h4>Answers</h4><table>"
    for status, answer in operation.get("responses", {}).items():
        yield _row(str(status), _content(answer.get("content", {})), _text(answer.get("description", "")))
    yield "</table></details>"


def _schemas(schemas: dict[str, Any]) -> Iterator[str]:
    if schemas:
        yield "<h2>Schemas</h2>"
    for name, schema in sorted(schemas.items()):
        shown = f'<div id="schema-{escape(name)}">{_json(schema)}</div>'  # inside: a link to it opens the details
        yield f"<details><summary><code>{escape(name)}</code></summary>{shown}</details>"


def _content(content: dict[str, Any], whole: bool = False) -> str:
    """Each media type with a link to its schema; as JSON where `whole` is asked for and there is more than that."""
    kinds = []
    for kind, value in content.items():
        reference = value.get("schema", {}).get("$ref", "")
        if whole and not reference:
            return _json(content)
        name = escape(reference.rpartition("/")[2])
        kinds.append(escape(kind) + (f' <a href="#schema-{name}"><code>{name}</code></a>' if name else ""))
    return ", ".join(kinds)


def _row(name: str, *cells: str) -> str:
    """`cells` are HTML."""
    return f"<tr><th><code>{escape(name)}</code></th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _text(text: str) -> str:
    """Escaped, with `code` as such."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _json(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
