"""Finding a running gateway from what a person has at hand: its configuration file or its data directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from portico.errors import ConfigError, ControlError
from portico.runtime import control, paths
from portico.runtime.demo import DEFAULT_DATA_DIR

DEFAULT_CONFIG: Final = Path("portico.yaml")


def default_config() -> Path | None:
    """./portico.yaml when it is there."""
    return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None


def locate(config: Path | None, data_dir: Path | None) -> Path:
    """The data directory of the gateway that is meant, running or not.

    `data_dir` decides. Else it is that of the gateway which runs on `config` (./portico.yaml), whatever has become of
    the file since; else the one that the file names; else the default. ControlError when two gateways run on one file.
    """
    if data_dir is not None:
        return Path(os.path.abspath(data_dir.expanduser()))
    file = config or default_config()
    if file is None:
        return DEFAULT_DATA_DIR.expanduser()
    wanted = str(file.absolute())
    running = {record.data_dir for record in paths.records() if record.config == wanted and control.alive(record)}
    if len(running) > 1:
        raise ControlError(f"several gateways run on {file}: say which with --data-dir ({', '.join(sorted(running))})")
    return Path(running.pop()) if running else _named_by(file)


def _named_by(file: Path) -> Path:
    from portico.config import load_file

    try:
        return Path(load_file(file, {}, os.environ).data_dir)
    except ConfigError:
        return DEFAULT_DATA_DIR.expanduser()  # no gateway can have started on it; one may run on the default
