"""Plain data → a model, with everything that is wrong found at once.

Pydantic stops before the checks between keys when one value is bad. So bad values are taken out, one round after the
other, until the rest is a model; what was found on the way is kept, and the checks run on the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from portico.config.base import Strict
from portico.config.explain import sentence, suggested
from portico.config.substitute import Finding, Kept, Path_
from portico.config.walk import models

MAX_SHOWN: Final = 1000
M = TypeVar("M", bound=Strict)
Step = tuple[dict[str, Any] | Kept, str | int]  # a container, and the key or original index of what is in it


class Validation(Generic[M]):
    """One model being made of `data`, which is used up. `findings` is what is wrong, `model` what is left."""

    def __init__(self, kind: type[M], data: dict[str, Any], failed: Iterable[Path_] = ()) -> None:
        self.kind = kind
        self.data = data
        self.findings: list[Finding] = []
        self.touched: set[Path_] = set()  # models and lists that lost a value: checks on what is left would mislead
        self.quiet = set(failed)  # paths about which something was said already
        self.model: M | None = None

    def run(self) -> None:
        """Find everything, then check between keys what can be checked."""
        for path in sorted(self.quiet, key=len, reverse=True):
            self._remove(self._steps(path, original=True))
        while True:
            try:
                self.model = self.kind.model_validate(self.data)
                break
            except ValidationError as error:
                if not self._round(error.errors(include_url=False, include_input=False)):
                    return
        for path, model in models(self.model, self.data):
            for below, message in model.check():
                whole = (*path, *below)
                if not self._misled(path, whole):
                    self.findings.append((_path(self._steps(whole, original=True)), message))

    def _misled(self, model: Path_, path: Path_) -> bool:
        """Whether something was taken out between the model and `path`, or below it."""
        return any(
            path[: len(touched)] == touched if len(touched) <= len(path) else touched[: len(path)] == path
            for touched in self.touched
            if len(touched) >= len(model)
        )

    def _round(self, errors: list[ErrorDetails]) -> bool:
        """Note the errors and take out what they are about; whether that changed anything."""
        if len(errors) > MAX_SHOWN:
            self.findings.append(((), f"has {len(errors)} mistakes; the first {MAX_SHOWN} are shown"))
        found = [(error, self._steps(error["loc"]), suggested(error, self.kind)) for error in errors[:MAX_SHOWN]]
        meant = {(*_path(steps[:-1]), near) for _, steps, near in found if near}
        known = len(self.findings)
        changed = False
        for error, steps, near in found:
            path, missing = _path(steps), error["type"] == "missing"
            if path not in self.quiet and not (missing and path in meant):
                self.findings.append((path, sentence(error, self.kind)))
            if near:
                changed |= _rename(steps[-1], near)
            elif not (missing and path in meant):
                changed |= self._remove(steps[:-1] if missing else steps)
        for path, _ in self.findings[known:]:  # what is missed because it was taken out is not news
            self.quiet.update(path[:length] for length in range(1, len(path) + 1))
        return changed and len(errors) <= MAX_SHOWN

    def _steps(self, loc: Path_, *, original: bool = False) -> list[Step]:
        """A location as containers and keys; tags of unions and what is below a scalar are left out."""
        steps: list[Step] = []
        here: Any = self.data
        for part in loc:
            if isinstance(here, Kept) and isinstance(part, int):
                position = here.indices.index(part) if original else part
                steps.append((here, here.indices[position]))
                here = here[position]
            elif isinstance(here, dict) and isinstance(part, str) and (part in here or not part.startswith(("<", "["))):
                steps.append((here, part))
                here = here.get(part)
        return steps

    def _remove(self, steps: list[Step]) -> bool:
        if not steps:
            return False
        path = _path(steps)
        container, key = steps[-1]
        self.touched.add(path[:-1])
        if isinstance(container, dict):
            return container.pop(str(key), self) is not self
        if key not in container.indices:
            return False
        position = container.indices.index(int(key))
        del container[position], container.indices[position]
        return True


def _rename(step: Step, meant: str) -> bool:
    """Read a misspelt key as the one that is meant, so that its value is looked at too."""
    container, key = step
    if not isinstance(container, dict) or key not in container:
        return False
    value = container.pop(str(key))
    container.setdefault(meant, value)
    return True


def _path(steps: list[Step]) -> Path_:
    return tuple(key for _, key in steps)
