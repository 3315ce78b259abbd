"""tools/compile.py on a small project of its own: what it makes, when it does nothing, what it refuses."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import compile as builder

pytestmark = pytest.mark.skipif(bool(builder.obstacle()), reason=builder.obstacle())

ONE = """
from portico.plain import LIMIT

class Counter:
    def __init__(self) -> None:
        self.count = LIMIT
"""
TWO = """
from portico.hot.one import Counter

def double(counter: Counter) -> int:
    return counter.count * 2
"""
HOT = ["portico.hot.one", "portico.hot.two"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    package = root / "src" / "portico"
    (package / "hot").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "plain.py": "from typing import Final\n\nLIMIT: Final = 7\n",
        "unrelated.py": "wrong: int = 'type'\n",
        "hot/__init__.py": "",
        "hot/one.py": ONE,
        "hot/two.py": TWO,
    }.items():
        (package / name).write_text(text)
    (root / "pyproject.toml").write_text(f"[tool.portico]\nhot = {json.dumps(HOT[::-1])}\n")
    return root


def test_it_compiles_outside_the_sources_and_knows_when_to_do_it_again(project: Path) -> None:
    out = project / "build" / "compiled"
    modules = builder.hot_modules(project)
    assert modules == HOT
    assert not builder.up_to_date(project, out, modules)
    builder.build(project, out, modules)

    manifest = json.loads((out / "manifest.json").read_text())
    assert sorted(manifest) == ["libraries", "modules", "sources"]
    assert sorted(manifest["modules"]) == HOT
    assert list(manifest["sources"]) == ["portico.plain"]
    source = (project / "src/portico/hot/one.py").read_bytes()
    assert manifest["modules"]["portico.hot.one"]["source_sha256"] == hashlib.sha256(source).hexdigest()
    files = [entry["file"] for entry in manifest["modules"].values()] + list(manifest["libraries"].values())
    assert sorted(files) == sorted(path.relative_to(out).as_posix() for path in out.rglob("*.so"))
    assert not list((project / "src").rglob("*.so"))
    assert [path.name for path in (project / "build").iterdir()] == ["compiled"]
    assert builder.up_to_date(project, out, modules)
    assert run_compiled(out, manifest) == "14 True"

    plain = project / "src/portico/plain.py"
    plain.write_text(plain.read_text().replace("7", "8"))
    assert not builder.up_to_date(project, out, modules), "a constant that was compiled in has changed"
    builder.build(project, out, modules)
    assert run_compiled(out, manifest) == "16 True"
    (out / manifest["modules"]["portico.hot.two"]["file"]).unlink()
    assert not builder.up_to_date(project, out, modules)


def run_compiled(out: Path, manifest: dict[str, dict[str, dict[str, str]]]) -> str:
    """Load what was built in a fresh process, without the sources on the path."""
    script = f"""
import importlib.util, sys, types
for name in ("portico", "portico.hot"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
plain = types.ModuleType("portico.plain")
plain.LIMIT = 0  # the compiled modules hold the constant of their build
sys.modules["portico.plain"] = plain
sys.path.insert(0, {str(out)!r})
def load(name, file):
    spec = importlib.util.spec_from_file_location(name, {str(out)!r} + "/" + file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
one = load("portico.hot.one", {manifest["modules"]["portico.hot.one"]["file"]!r})
two = load("portico.hot.two", {manifest["modules"]["portico.hot.two"]["file"]!r})
print(two.double(one.Counter()), type(two.double).__name__ == "builtin_function_or_method")
"""
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.strip()


def test_a_failed_build_leaves_the_last_good_one(project: Path) -> None:
    out = project / "build" / "compiled"
    out.mkdir(parents=True)
    (out / "manifest.json").write_text("{}")
    (project / "src/portico/hot/two.py").write_text("x: int = 'text'\n")
    with pytest.raises(builder.CompileError, match=r"Incompatible types"):
        builder.build(project, out, HOT)
    assert (out / "manifest.json").read_text() == "{}"
    assert [path.name for path in (project / "build").iterdir()] == ["compiled"]


def test_a_listed_module_that_does_not_exist_is_refused(project: Path) -> None:
    (project / "src/portico/hot/two.py").unlink()
    with pytest.raises(builder.CompileError, match=r"no module portico\.hot\.two"):
        builder.hot_modules(project)


@pytest.mark.parametrize("text", ["", "{}", '{"modules": {}, "libraries": {}}'])
def test_an_unreadable_manifest_is_out_of_date(project: Path, text: str) -> None:
    (project / "manifest.json").write_text(text)
    assert not builder.up_to_date(project, project, HOT)


def test_portico_itself_names_only_hot_modules_that_exist() -> None:
    modules = builder.hot_modules(builder.ROOT)
    assert modules, "[tool.portico] hot is empty"
    assert all(importlib.util.find_spec(name) is not None for name in modules)
