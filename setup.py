"""The build step that pyproject.toml can't express: a wheel carries the hot modules compiled, where that is possible.

`PORTICO_COMPILED=0 pip wheel .` makes a pure-Python wheel; `PORTICO_COMPILED=1` refuses to make one.
"""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
BUILDER = ROOT / "tools" / "compile.py"


def load_builder() -> ModuleType:
    """tools/compile.py as a module: it is no part of the package."""
    spec = importlib.util.spec_from_file_location("portico_compile", BUILDER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiles() -> bool:
    """Whether this build compiles: asked for, or possible and not refused."""
    wish = os.environ.get("PORTICO_COMPILED", "auto")
    obstacle = load_builder().obstacle()
    if wish == "1" and obstacle:
        raise SystemExit(f"PORTICO_COMPILED=1: {obstacle}")
    return wish != "0" and not obstacle


class BuildPython(build_py):
    """Adds portico/_compiled to what a wheel holds; an editable install uses build/compiled of the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode and compiles():
            builder = load_builder()
            out = Path(self.build_lib).resolve() / "portico" / "_compiled"
            builder.build(ROOT, out, builder.hot_modules(ROOT))

    def get_source_files(self) -> list[str]:
        """What a source distribution holds: the sources and the builder that this file needs."""
        files: list[str] = super().get_source_files()  # type: ignore[no-untyped-call]
        return [*files, str(BUILDER.relative_to(ROOT))]


class PorticoDistribution(Distribution):
    """Its wheel names the platform when it holds compiled files."""

    def has_ext_modules(self) -> bool:
        return compiles()


setup(cmdclass={"build_py": BuildPython}, distclass=PorticoDistribution)
