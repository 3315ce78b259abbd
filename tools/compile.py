"""Compiles the hot modules with mypyc into a directory beside the sources, never among them.

The modules are those of `[tool.portico] hot` in pyproject.toml. The build runs in a scratch directory; what it made is
swapped into place in one step, with the manifest that `portico.kernel.compiled` checks before it loads anything:

    modules    module → the SHA-256 of its source and its extension file
    libraries  the shared library that the extension files are entries of
    sources    modules that were not compiled but whose constants and types went into the compiled ones

Run `python tools/compile.py` after changing a hot module; it does nothing when everything is up to date.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
GROUP: Final = "portico"
CANNOT: Final = 3  # exit code: nothing wrong with the sources, but this machine can't compile


class CompileError(Exception):
    """The hot modules can't be compiled; the message says why."""


def hot_modules(root: Path) -> list[str]:
    """The module names to compile, from pyproject.toml."""
    with (root / "pyproject.toml").open("rb") as file:
        names = tomllib.load(file)["tool"]["portico"]["hot"]
    missing = [name for name in names if not source_of(root, name).is_file()]
    if missing:
        raise CompileError(f"pyproject.toml, [tool.portico] hot: there is no module {', '.join(missing)}")
    return sorted(names)


def source_of(root: Path, module: str) -> Path:
    """The source file of a module of ours; it need not exist."""
    path = root.joinpath("src", *module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def digest(path: Path) -> str:
    """The file's SHA-256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def imported(root: Path, modules: list[str]) -> list[str]:
    """Our modules that the given ones import, directly or not, without the given ones."""
    seen, waiting = set(modules), list(modules)
    while waiting:
        tree = ast.parse(source_of(root, waiting.pop()).read_bytes())
        for name in {name for node in ast.walk(tree) for name in _names(node)}:
            if name.split(".")[0] == "portico" and name not in seen and source_of(root, name).is_file():
                seen.add(name)
                waiting.append(name)
    return sorted(seen - set(modules))


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def obstacle() -> str:
    """Why this machine can't compile, or ""."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(os.environ.get("CC", compiler)) is None:
        return f"there is no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's headers (Python.h) are not installed"
    for needed in ("mypyc", "setuptools"):
        if importlib.util.find_spec(needed) is None:
            return f"{needed} is not installed"
    return ""


def up_to_date(root: Path, out: Path, modules: list[str]) -> bool:
    """Whether `out` holds what a build would make of the sources as they are, for this Python."""
    try:
        manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text("utf-8"))
        hashes = {name: entry["source_sha256"] for name, entry in manifest["modules"].items()} | manifest["sources"]
        files = [entry["file"] for entry in manifest["modules"].values()] + list(manifest["libraries"].values())
    except (OSError, ValueError, KeyError):
        return False
    wanted = {name: digest(source_of(root, name)) for name in (*modules, *imported(root, modules))}
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return hashes == wanted and all(file.endswith(suffix) and (out / file).is_file() for file in files)


def build(root: Path, out: Path, modules: list[str], *, verbose: bool = False) -> None:
    """Compile `modules` into `out`; what `out` held before stays until the new is complete."""
    out.parent.mkdir(parents=True, exist_ok=True)
    sources = {name: digest(source_of(root, name)) for name in (*modules, *imported(root, modules))}
    with tempfile.TemporaryDirectory(prefix="portico-compile-") as scratch:
        work = Path(scratch, "work")
        unwanted = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(root / "src" / "portico", work / "portico", ignore=unwanted)
        _run_mypyc(root, work, modules, verbose)
        made = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            made.chmod(0o755)
            _collect(work / "lib", made, modules, sources)
            _swap(made, out)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _run_mypyc(root: Path, work: Path, modules: list[str], verbose: bool) -> None:
    paths = [str(source_of(root, name).relative_to(root / "src")) for name in modules]
    command = [sys.executable, str(Path(__file__).resolve()), "--extensions", *paths]
    environment = {**os.environ, "CFLAGS": f"{os.environ.get('CFLAGS', '')} -O3 -g0".strip(), "MYPYPATH": str(work)}
    output = None if verbose else subprocess.PIPE
    done = subprocess.run(command, cwd=work, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True)
    if done.returncode < 0:
        raise CompileError(f"the compilation was ended by signal {-done.returncode}")
    if done.returncode:
        raise CompileError(f"mypyc or the C compiler refused:\n{done.stdout or ''}".rstrip())


def make_extensions(paths: list[str]) -> None:
    """Translate and compile the sources at `paths`, relative to the working directory, into ./lib."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    flags = ["--config-file=", "--follow-imports=silent", "--ignore-missing-imports", "--cache-dir=cache"]
    extensions = mypycify(
        [*flags, *paths], opt_level="3", debug_level="0", multi_file=False, target_dir="c", group_name=GROUP
    )
    for extension in extensions:
        # Nothing but the modules' entry points is called from outside, so that calls within need no table: 4 % less.
        extension.extra_compile_args += ["-fvisibility=hidden", "-fno-semantic-interposition"]
        extension.extra_link_args.append("-Wl,-s" if sys.platform == "linux" else "-O3")
    command = build_ext(Distribution({"name": GROUP, "ext_modules": extensions}))
    command.build_lib, command.build_temp = "lib", "temp"
    command.ensure_finalized()
    command.run()


def _collect(lib: Path, made: Path, modules: list[str], sources: dict[str, str]) -> None:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    entries: dict[str, dict[str, str]] = {}
    libraries: dict[str, str] = {}
    for path in sorted(lib.rglob(f"*{suffix}")):
        file = path.relative_to(lib).as_posix()
        name = file.removesuffix(suffix).replace("/", ".")
        if name in modules:
            entries[name] = {"source_sha256": sources[name], "file": file}
        else:
            libraries[name] = file
        target = made / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    if sorted(entries) != modules:
        raise CompileError(f"no extension file was made for: {', '.join(sorted(set(modules) - set(entries)))}")
    others = {name: known for name, known in sources.items() if name not in entries}
    manifest = {"modules": entries, "libraries": libraries, "sources": others}
    (made / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def _swap(made: Path, out: Path) -> None:
    """Put `made` in the place of `out`. A process that has the old files open keeps them."""
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    try:
        if out.exists():
            out.rename(old / out.name)
        made.rename(out)
    finally:
        shutil.rmtree(old, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Run the command line; 0 when compiled, CANNOT when this machine can't, 1 when the sources can't be."""
    parser = argparse.ArgumentParser(description="Compile Portico's hot modules with mypyc.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "compiled", help="default: build/compiled")
    parser.add_argument("--force", action="store_true", help="compile even when everything is up to date")
    parser.add_argument("--verbose", action="store_true", help="show what mypyc and the C compiler say")
    options = parser.parse_args(arguments)
    reason = obstacle()
    if reason:
        print(f"Portico runs interpreted: {reason}.")
        return CANNOT
    out: Path = options.out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with (out.parent / f".{out.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at once would do the same minute of work twice
        try:
            modules = hot_modules(ROOT)
            if not options.force and up_to_date(ROOT, out, modules):
                print(f"compiled: {len(modules)} modules, up to date")
                return 0
            build(ROOT, out, modules, verbose=options.verbose)
        except (CompileError, SyntaxError) as error:
            print(f"tools/compile.py: {error}", file=sys.stderr)
            return 1
    print(f"compiled: {len(modules)} modules")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--extensions"]:
        make_extensions(sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
