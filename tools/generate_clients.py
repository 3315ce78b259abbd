"""Writes the models of the clients from the OpenAPI document of a gateway of this checkout.

    python tools/generate_clients.py            writes clients/python/…/models.py and clients/typescript/src/models.ts
    python tools/generate_clients.py --check    writes nothing; 1 when one of them is not what would be written

Only what gateways answer is generated: what clients send are arguments of their methods, which are written by hand.
Both languages keep the names of the wire. A name of `MODELS` that the document does not have is an error.
"""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PYTHON: Final = ROOT / "clients/python/src/portico_client/models.py"
TYPESCRIPT: Final = ROOT / "clients/typescript/src/models.ts"
MADE: Final = "Made by tools/generate_clients.py from the OpenAPI document: change that, not this."
WIDTH: Final = 116
HIDDEN: Final = ("key", "secret")  # never shown by repr()

# What a schema of the document is called in the clients, in the order in which they are written.
MODELS: Final = {
    "Detected": "Verdict",
    "ProfileUsage": "ProfileUsage",
    "Profile": "Profile",
    "KeyView": "Key",
    "IssuedKey": "IssuedKey",
    "Rotated": "RotatedKey",
    "webhooks__schemas__Stats": "WebhookStats",
    "WebhookView": "Webhook",
    "Registered": "RegisteredWebhook",
    "NewSecret": "NewSecret",
    "webhooks__schemas__AttemptView": "Attempt",
    "DeliveryView": "Delivery",
    "Tested": "WebhookTest",
    "Replayed": "Replayed",
}

# Properties whose words get a name of their own.
ALIASES: Final = {"threat_types": "Threat"}

Schema = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """One property. `default` is the text of a Python default, or "" where the property always comes."""

    name: str
    python: str
    typescript: str
    default: str
    about: str


@dataclass(frozen=True)
class Model:
    """One schema under its name in the clients."""

    name: str
    about: str
    fields: tuple[Field, ...]


class Unknown(Exception):
    """The document has something that this script has no words for."""


def models(document: Schema) -> list[Model]:
    """The models of `MODELS`, in their order."""
    schemas: Schema = document["components"]["schemas"]
    found = {_whole(schemas, name): mine for name, mine in MODELS.items()}
    return [_model(schemas[name], mine, found) for name, mine in found.items()]


def _whole(schemas: Schema, name: str) -> str:
    """FastAPI puts the module before a name that two schemas share."""
    whole = [each for each in schemas if each == name or each.endswith(f"__{name}")]
    if len(whole) != 1:
        raise Unknown(f"the document has {len(whole)} schemas {name}")
    return whole[0]


def _model(schema: Schema, name: str, names: dict[str, str]) -> Model:
    required = schema.get("required", ())
    fields = tuple(_field(each, part, each in required, names) for each, part in schema["properties"].items())
    return Model(name, schema.get("description", ""), tuple(sorted(fields, key=lambda field: bool(field.default))))


def _field(name: str, part: Schema, required: bool, names: dict[str, str]) -> Field:
    python, typescript = _types(part, names)
    if name in ALIASES:
        python, typescript = f"list[{ALIASES[name]}]", f"readonly {ALIASES[name]}[]"
    default = "" if required else repr(part.get("default"))
    return Field(name, python, typescript, default, part.get("description", ""))


def _types(part: Schema, names: dict[str, str]) -> tuple[str, str]:
    """The type of a property in Python and in TypeScript."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        if name not in names:
            raise Unknown(f"{name} is used and not in MODELS")
        return names[name], names[name]
    if "anyOf" in part:
        pairs = [_types(each, names) for each in part["anyOf"]]
        return " | ".join(pair[0] for pair in pairs), " | ".join(pair[1] for pair in pairs)
    if "const" in part or "enum" in part:
        words = [json.dumps(each) for each in part.get("enum", [part.get("const")])]
        return f"Literal[{', '.join(words)}]", " | ".join(words)
    match part.get("type"):
        case "null":
            return "None", "null"
        case "string":
            return ("datetime" if part.get("format") == "date-time" else "str"), "string"
        case "boolean":
            return "bool", "boolean"
        case "integer":
            return "int", "number"
        case "number":
            return "float", "number"
        case "array":
            python, typescript = _types(part["items"], names)
            return f"list[{python}]", f"readonly ({typescript})[]" if " " in typescript else f"readonly {typescript}[]"
        case "object" if part.get("additionalProperties") is True:
            return "dict[str, Any]", "Readonly<Record<string, unknown>>"
    raise Unknown(f"no type for {json.dumps(part)}")


def words(document: Schema) -> dict[str, list[str]]:
    """The words that each name of `ALIASES` stands for."""
    return {
        ALIASES[name]: [json.dumps(word) for word in part["items"]["enum"]]
        for schema in document["components"]["schemas"].values()
        for name, part in schema.get("properties", {}).items()
        if name in ALIASES
    }


def python(document: Schema) -> str:
    """The text of models.py."""
    parts = [
        f'"""What gateways answer. {MADE}\n\n'
        "A newer gateway may answer with more fields, which are dropped here, and with words that no `Literal` has.\n"
        '"""\n\n'
        "from __future__ import annotations\n\n"
        "from dataclasses import dataclass, field\n"
        "from datetime import datetime\n"
        "from typing import Any, Literal\n"
    ]
    for name, listed in words(document).items():
        parts.append(f"\n{name} = Literal[\n    {', '.join(listed)}\n]\n")
    for model in models(document):
        lines = ["", "", "@dataclass(frozen=True, slots=True, kw_only=True)", f"class {model.name}:"]
        lines += [*_paragraph(f'"""{_sentence(model.about)}"""'), ""]
        for each in model.fields:
            hidden = " = field(repr=False)" if each.name in HIDDEN else ""
            lines.append(f"    {each.name}: {each.python}{hidden or (each.default and f' = {each.default}')}")
            lines += _paragraph(f'"""{_sentence(each.about)}"""') if each.about else []
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ")


def typescript(document: Schema) -> str:
    """The text of models.ts."""
    parts = [
        f"// What gateways answer. {MADE}\n"
        "// A newer gateway may answer with more fields, and with words that are not listed here. Times are RFC 3339.\n"
    ]
    for name, listed in words(document).items():
        parts.append(f"\nexport type {name} =\n  | " + "\n  | ".join(listed) + ";\n")
    for model in models(document):
        lines = ["", f"/** {_sentence(model.about)} */", f"export interface {model.name} {{"]
        for each in model.fields:
            if each.about:
                lines.append(f"  /** {_sentence(each.about)} */")
            lines.append(f"  readonly {each.name}{'?' if each.default else ''}: {each.typescript};")
        parts.append("\n".join([*lines, "}"]) + "\n")
    return "".join(parts)


def files(document: Schema) -> dict[Path, str]:
    """What is to be written where."""
    return {PYTHON: python(document), TYPESCRIPT: typescript(document)}


def stale(document: Schema) -> list[str]:
    """The files that are not what would be written."""
    return [
        path.relative_to(ROOT).as_posix()
        for path, text in files(document).items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Run the command line."""
    from portico.testing import GatewayHarness

    with GatewayHarness({}) as gateway:
        document = gateway.request("GET", "/openapi.json").json()
    if "--check" in arguments:
        complaints = stale(document)
        for name in complaints:
            print(f"{name}: not as tools/generate_clients.py writes it")
        return 1 if complaints else 0
    for path, text in files(document).items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
