"""Checks that the documentation speaks of what exists.

In README.md, ARCHITECTURE.md, CONTRIBUTING.md, SECURITY.md, CHANGELOG.md, bench/, clients/, docs/ and examples/:

- a `portico …` command, in a code span or a shell block, exists and takes the options it is shown with;
- a `yaml` block uses configuration keys that exist. A block that is no gateway configuration says what it is behind the
  fence (```yaml compose), one that shows a part says which part (```yaml at=routes[]), and one that is a whole file is
  loaded as one (```yaml portico.yaml);
- a dotted key in a code span (`server.limits.drain`) exists;
- `make x` names a target of the Makefile;
- a relative link leads to a file, and its #anchor to a heading.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

import doc_pages

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = ("*.md", "bench/**/*.md", "clients/*/README.md", "docs/**/*.md", "examples/*.md", "examples/*/*.md")
SHELL: Final = ("sh", "bash", "console", "shell")
COMMAND: Final = re.compile(r"(?:^|[\s;&|(])(?:[\w./~-]*/)?portico\s+([a-z][a-z-]*)\b([^;&#\n]*)")
OPTION: Final = re.compile(r"(?<![\w-])(--?[a-zA-Z][\w-]*)")
MAKE: Final = re.compile(r"(?:^|[\s;&|(])make((?:\s+[\w-]+(?![\w=-]))+)")
TARGET: Final = re.compile(r"^([a-z][\w-]*):", re.MULTILINE)
DOTTED: Final = re.compile(r"[a-z_]+(?:\[\])?(?:\.[a-z_]+(?:\[\])?)+")
FILES: Final = (".py", ".yaml", ".yml", ".md", ".toml", ".json", ".txt", ".log", ".sock", ".pid")

Schema = dict[str, Any]
Load = Callable[[Path], object]


class Checker:
    """What exists, and the complaints about what does not."""

    def __init__(
        self, root: Path, commands: dict[str, set[str]], schema: Schema, targets: set[str], load: Load
    ) -> None:
        self.root = root
        self.commands = commands
        self.schema = schema
        self.targets = targets
        self.load = load
        self.pages: dict[Path, doc_pages.Page] = {}

    def page(self, path: Path) -> doc_pages.Page:
        """The page at `path`, read once."""
        if path not in self.pages:
            self.pages[path] = doc_pages.read(path)
        return self.pages[path]

    def check(self, path: Path) -> Iterator[str]:
        """Every complaint about one page, as `file:line: what`."""
        page = self.page(path)
        name = path.relative_to(self.root).as_posix()
        found = [*self._spans(page), *self._blocks(page), *self._links(page)]
        yield from (f"{name}:{line}: {complaint}" for line, complaint in sorted(found))

    def _spans(self, page: doc_pages.Page) -> Iterator[tuple[int, str]]:
        for line, span in page.spans:
            yield from ((line, complaint) for complaint in self.shell(span))
            if DOTTED.fullmatch(span) and not span.endswith(FILES):
                keys = span.replace("[]", ".[]").split(".")
                if keys[0] in self.schema["properties"]:
                    yield from ((line, complaint) for complaint in missing_key(self.schema, keys))

    def _blocks(self, page: doc_pages.Page) -> Iterator[tuple[int, str]]:
        for block in page.blocks:
            kind, _, about = block.info.partition(" ")
            if kind in SHELL:
                for offset, line in enumerate(block.text.splitlines(), 1):
                    yield from ((block.line + offset, complaint) for complaint in self.shell(line))
            elif kind in ("yaml", "yml"):
                yield from ((block.line, complaint) for complaint in self.configuration(block.text, about))

    def shell(self, text: str) -> Iterator[str]:
        """Complaints about the commands and make targets in one line."""
        for word, rest in COMMAND.findall(text):
            command = self._whole(word, rest)
            if command not in self.commands:
                yield f"`portico {command}` does not exist"
                continue
            for option in OPTION.findall(rest.split(" | ")[0]):
                if option not in self.commands[command]:
                    yield f"`portico {command}` has no {option}"
        for targets in MAKE.findall(text):
            for target in targets.split():
                if target not in self.targets and text.lstrip("$ ").startswith("make"):
                    yield f"the Makefile has no target {target}"

    def _whole(self, word: str, rest: str) -> str:
        """The command with its subcommand, where it is one of a group's."""
        second = rest.split(maxsplit=1)[0] if rest.split() else ""
        is_group = any(name.startswith(f"{word} ") for name in self.commands)
        return f"{word} {second}" if is_group and re.fullmatch("[a-z-]+", second) else word

    def configuration(self, text: str, about: str) -> Iterator[str]:
        """Complaints about one block of YAML."""
        if about and about != "portico.yaml" and not about.startswith("at="):
            return
        try:
            value = yaml.load(text, yaml.BaseLoader)  # `on` is a word to the gateway
        except yaml.YAMLError as error:
            yield f"the block is not YAML: {' '.join(str(error).split())}"
            return
        places = [self.schema]
        part = about.removeprefix("at=") if about.startswith("at=") else ""
        for key in part.replace("[]", ".[]").split(".") if part else []:
            places = step(self.schema, places, key)
        unknown = list(unknown_keys(self.schema, places, value, part))
        yield from (f"there is no configuration key {key}" for key in unknown)
        if about == "portico.yaml" and not unknown:
            yield from self._refusal(text)

    def _refusal(self, text: str) -> Iterator[str]:
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, "portico.yaml")
            file.write_text(text, "utf-8")
            try:
                self.load(file)
            except Exception as error:
                yield f"the configuration is refused: {str(error).replace(f'{scratch}/', '')}"

    def _links(self, page: doc_pages.Page) -> Iterator[tuple[int, str]]:
        for line, link in page.links:
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            file, _, anchor = link.partition("#")
            target = (page.path.parent / file).resolve() if file else page.path
            if not target.exists():
                yield line, f"the link {link} leads nowhere"
            elif anchor and target.suffix == ".md" and anchor not in self.page(target).anchors:
                yield line, f"the link {link} names no heading of {target.name}"


def branches(schema: Schema, part: Schema | bool) -> list[Schema]:
    """The alternatives that a part of the schema stands for, references followed."""
    if not isinstance(part, dict):
        return [{"additionalProperties": True, "items": True}] if part else []
    if "$ref" in part:
        target: Any = schema
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        return branches(schema, target)
    inner = [
        each
        for word in ("anyOf", "oneOf", "allOf")
        for option in part.get(word, [])
        for each in branches(schema, option)
    ]
    return [part, *inner]


def step(schema: Schema, places: list[Schema], key: str) -> list[Schema]:
    """Where `key` leads from `places`; "[]" leads to the items of a list. Nowhere: no such key."""
    found: list[Schema] = []
    for place in [each for part in places for each in branches(schema, part)]:
        if key == "[]":
            parts = [place["items"]] if "items" in place else []
        elif key in place.get("properties", {}):
            parts = [place["properties"][key]]
        else:
            parts = [sub for pattern, sub in place.get("patternProperties", {}).items() if re.search(pattern, key)]
            others = place.get("additionalProperties", place.get("type") == "object" and "properties" not in place)
            parts = parts or [others]
        found.extend(each for part in parts for each in branches(schema, part))
    return found


def unknown_keys(schema: Schema, places: list[Schema], value: object, path: str) -> Iterator[str]:
    """The paths of the keys in `value` that the schema does not know."""
    if isinstance(value, dict):
        for key, inner in value.items():
            here = f"{path}.{key}" if path else str(key)
            next_places = step(schema, places, str(key))
            if next_places:
                yield from unknown_keys(schema, next_places, inner, here)
            else:
                yield here
    elif isinstance(value, list):
        next_places = step(schema, places, "[]")
        for number, inner in enumerate(value):
            yield from unknown_keys(schema, next_places, inner, f"{path}[{number}]")


def missing_key(schema: Schema, keys: list[str]) -> Iterator[str]:
    """A complaint when the dotted path `keys` leads nowhere."""
    places = [schema]
    for key in keys:
        places = step(schema, places, key)
        if not places:
            yield f"there is no configuration key {'.'.join(keys).replace('.[]', '[]')}"
            return


def commands() -> dict[str, set[str]]:
    """Each command of the CLI with the options it takes; one of a group is "keys create"."""
    import typer.main

    from portico.cli.app import build

    group: Any = typer.main.get_command(build())
    own = {"-h", "--help"}
    found = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        each = {name: command} if inner is None else {f"{name} {second}": part for second, part in inner.items()}
        found[name] = own
        for whole, part in each.items():
            found[whole] = own.union(*(set(option.opts + option.secondary_opts) for option in part.params))
    return found


def main() -> int:
    """Print every complaint; 1 when there is one."""
    from portico.config.load import load_file
    from portico.config.schema import json_schema

    targets = set(TARGET.findall((ROOT / "Makefile").read_text("utf-8")))
    checker = Checker(ROOT, commands(), json_schema(), targets, load_file)
    pages = sorted({path for pattern in PAGES for path in ROOT.glob(pattern)})
    complaints = [complaint for path in pages for complaint in checker.check(path)]
    for complaint in complaints:
        print(complaint)
    if not complaints:
        print(f"documentation: {len(pages)} pages, {len(checker.commands)} commands")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
