"""Compiled or interpreted: all hot modules or none. Uses really compiled modules, in processes of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
HOT = ["portico.hot.first", "portico.hot.second"]
FIRST = "VALUE = 1\n\n\nclass Point:\n    def __init__(self, x: int) -> None:\n        self.x = x\n"
SECOND = "from portico.hot.first import Point\n\n\ndef made() -> int:\n    return Point(3).x\n"
SHOW = """
import sys, json
from portico.kernel import compiled
try:
    answer = compiled.install()
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
    sys.exit()
import portico.hot.first, portico.hot.second
files = [portico.hot.first.__file__, portico.hot.second.__file__]
print(json.dumps([*answer, [file.endswith(".so") for file in files], portico.hot.second.made()]))
"""


def compiler() -> ModuleType:
    spec = importlib.util.spec_from_file_location("portico_tools_compile", ROOT / "tools" / "compile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_tree(root: Path) -> None:
    """A checkout that holds the kernel and two hot modules of its own."""
    package = root / "src" / "portico"
    (package / "hot").mkdir(parents=True)
    for name in ("__init__.py", "errors.py"):
        shutil.copy(ROOT / "src" / "portico" / name, package)
    for name in ("contracts", "kernel"):
        shutil.copytree(ROOT / "src" / "portico" / name, package / name)
    (root / "pyproject.toml").write_text("")
    (package / "hot" / "__init__.py").write_text("")
    (package / "hot" / "first.py").write_text(FIRST)
    (package / "hot" / "second.py").write_text(SECOND)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compiled") / "checkout"
    make_tree(root)
    tool = compiler()
    if tool.obstacle():
        pytest.skip(f"can't compile here: {tool.obstacle()}")
    tool.build(root, root / "build" / "compiled", HOT)
    return root


@pytest.fixture
def tree(built: Path, tmp_path: Path) -> Path:
    """A copy of the compiled checkout that a test may spoil."""
    root = tmp_path / "checkout"
    shutil.copytree(built, root)
    return root


def run(root: Path, mode: str | None = None, code: str = SHOW, **env: str) -> object:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PORTICO_")}
    environment |= {"PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1", **env}
    if mode is not None:
        environment["PORTICO_COMPILED"] = mode
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True, timeout=60, cwd=root
    )
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


def spoil(root: Path, change: str) -> None:
    manifest = root / "build" / "compiled" / "manifest.json"
    content = json.loads(manifest.read_text())
    match change:
        case "source":
            (root / "src" / "portico" / "hot" / "second.py").write_text(SECOND + "\n")
        case "gone":
            (root / "src" / "portico" / "hot" / "first.py").unlink()
        case "constant":
            content["sources"]["portico.contracts"] = "0" * 64
        case "file":
            next((root / "build" / "compiled").rglob("first.*.so")).unlink()
        case "python":
            content["modules"][HOT[0]]["file"] = "portico/hot/first.cpython-299-x86_64-linux-gnu.so"
        case "broken":
            next((root / "build" / "compiled").glob("*__mypyc*.so")).write_bytes(b"not an extension")
        case "none":
            manifest.unlink()
        case "empty":
            content = {"modules": {}, "libraries": {}}
        case "nonsense":
            content = [1]
    if manifest.exists():
        manifest.write_text(json.dumps(content))


@pytest.mark.parametrize("mode", [None, "auto", "1", ""])
def test_compiled_when_everything_fits(built: Path, mode: str | None) -> None:
    assert run(built, mode) == [True, "compiled: 2 modules", [True, True], 3]


def test_0_is_interpreted(built: Path) -> None:
    assert run(built, "0") == [False, "interpreted: PORTICO_COMPILED=0", [False, False], 3]


REASONS = {
    "source": "portico.hot.second has changed since it was compiled",
    "constant": "portico.contracts has changed since it was compiled",
    "file": "the compiled file of portico.hot.first is missing",
    "python": "portico.hot.first was compiled for another Python",
    "none": "nothing has been compiled",
    "empty": "manifest.json of the compiled modules names none",
    "nonsense": "manifest.json of the compiled modules can't be read",
}


@pytest.mark.parametrize("change", REASONS)
def test_one_stale_file_leaves_all_interpreted_or_is_an_error_when_demanded(tree: Path, change: str) -> None:
    spoil(tree, change)
    assert run(tree) == [False, f"interpreted: {REASONS[change]}", [False, False], 3]
    assert run(tree, "1") == ["CompiledError", REASONS[change]]


def test_a_removed_source_is_stale(tree: Path) -> None:
    spoil(tree, "gone")
    assert run(tree, "1") == ["CompiledError", "portico.hot.first has changed since it was compiled"]


def test_a_library_that_can_t_be_loaded_leaves_all_interpreted(tree: Path) -> None:
    spoil(tree, "broken")
    answer = run(tree)
    assert isinstance(answer, list)
    assert answer[0] is False
    assert "__mypyc can't be loaded: " in answer[1]
    assert answer[2:] == [[False, False], 3]


def test_too_late_once_a_hot_module_was_imported(built: Path) -> None:
    late = "import portico.hot.first\n" + SHOW
    reason = "portico.hot.first was imported before the compiled modules were installed"
    assert run(built, code=late) == [False, f"interpreted: {reason}", [False, False], 3]
    assert run(built, "1", code=late) == ["CompiledError", reason]


def test_an_unknown_mode_is_refused(built: Path) -> None:
    assert run(built, "yes") == ["CompiledError", "PORTICO_COMPILED is one of auto, 1, 0, not 'yes'"]


def test_another_directory_by_environment(built: Path, tree: Path) -> None:
    shutil.rmtree(tree / "build")
    assert run(tree) == [False, "interpreted: nothing has been compiled", [False, False], 3]
    elsewhere = str(built / "build" / "compiled")
    assert run(tree, PORTICO_COMPILED_DIR=elsewhere) == [True, "compiled: 2 modules", [True, True], 3]


def test_in_an_installed_package_it_is_beside_the_sources(tree: Path) -> None:
    site = tree / "site-packages"
    shutil.copytree(tree / "src", site)
    shutil.copytree(tree / "build" / "compiled", site / "portico" / "_compiled")
    assert run(tree, PYTHONPATH=str(site)) == [True, "compiled: 2 modules", [True, True], 3]


def test_status_tells_without_installing(built: Path, tree: Path) -> None:
    code = """
import sys, json
from portico.kernel import compiled
before = len(sys.meta_path)
print(json.dumps([*compiled.status(), len(sys.meta_path) - before]))
"""
    assert run(built, code=code) == [True, "compiled: 2 modules", 0]
    assert run(built, "0", code=code) == [False, "interpreted: PORTICO_COMPILED=0", 0]
    spoil(tree, "source")
    assert run(tree, "1", code=code) == [False, f"interpreted: {REASONS['source']}", 0]


def test_install_twice_is_the_same_and_0_takes_it_back(built: Path) -> None:
    code = """
import json
from portico.kernel import compiled
first, second, status, third = compiled.install(), compiled.install("1"), compiled.status(), compiled.install("0")
import portico.hot.first
print(json.dumps([first == second == status, third[0], portico.hot.first.__file__.endswith(".py")]))
"""
    assert run(built, code=code) == [True, False, True]
