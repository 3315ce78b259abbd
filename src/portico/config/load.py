"""portico.yaml → Settings, or every problem of it at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portico.config.crosscheck import between_sections
from portico.config.places import Places
from portico.config.settings import Settings
from portico.config.source import WHOLE, Defaults, Document, FileSource, Source
from portico.config.substitute import Expander, Path_
from portico.config.tree import Node, TreeError, compose
from portico.config.validate import Validation
from portico.errors import ConfigError, Problem


def load_file(
    path: str | Path | None,
    overrides: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of a file; `None` is all defaults. ConfigError with every problem when it can't be used.

    `overrides` are values by dotted path ("server.port") that win over the file's; None as a value changes nothing.
    `env` is what `${NAME}` is taken from: the process's environment when left out.
    """
    return load(FileSource(Path(path)) if path is not None else Defaults(), overrides, env)


def load(source: Source, overrides: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """The settings of any source; otherwise like `load_file`."""
    env = os.environ if env is None else env
    document = source.read()
    expander = Expander(document.base, env)
    root, data = _data(document, expander)
    given = {tuple(key.split(".")): value for key, value in (overrides or {}).items() if value is not None}
    for path, value in given.items():
        _override(data, path, value)
    places = Places(document.name, document.version, root, expander.secrets, given, document.base)
    upstreams = data.get("upstreams")
    names = list(upstreams) if isinstance(upstreams, dict) else []
    validation = Validation(Settings, data, expander.failed)
    validation.run()
    findings = expander.findings + validation.findings
    settings = validation.model
    if settings is not None:
        findings += between_sections(settings, validation.data, names)
    if findings or settings is None:
        raise ConfigError(places.problems(findings))
    base = Path.cwd() if ("data_dir",) in given else document.base
    settings = settings.model_copy(update={"data_dir": _folder(settings.data_dir, base, env)})
    settings.place(places)
    return settings


def _data(document: Document, expander: Expander) -> tuple[Node, dict[str, Any]]:
    try:
        root = compose(document.text)
        data = expander.expand(root)
    except TreeError as error:
        raise ConfigError([Problem(document.name, error.line, WHOLE, error.message)]) from None
    if data is None:
        data = {}
        expander.findings.append(((), "has no settings; write {} to run on the defaults"))
    elif not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else "a single value"
        message = f"must be a mapping such as `server: …`, not {kind}"
        raise ConfigError([Problem(document.name, root.line, WHOLE, message)])
    return root, data


def _override(data: dict[str, Any], path: Path_, value: Any) -> None:
    for part in path[:-1]:
        below = data.get(str(part))
        if not isinstance(below, dict):
            below = data[str(part)] = {}
        data = below
    data[str(path[-1])] = value


def _folder(text: str, base: Path, env: Mapping[str, str]) -> str:
    """An absolute folder: `~` is the home of `env`, anything relative is beside the configuration."""
    if text == "~" or text.startswith("~/"):
        return str(Path(env.get("HOME") or Path.home()) / text[2:])
    return str(base / text)
