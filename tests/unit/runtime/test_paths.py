"""Directories: private, short enough for sockets, and recorded."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from portico.errors import StartError
from portico.runtime import paths
from portico.runtime.paths import Record, make_runtime_dir, prepare_data_dir, read_record, records


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tempfile.TemporaryDirectory(prefix="run-", dir="/tmp") as base:
        monkeypatch.setenv("XDG_RUNTIME_DIR", base)
        yield Path(base)


def _record(runtime: Path, data: Path, config: str = "") -> Record:
    return Record(
        4711, str(runtime / "control.sock"), str(runtime), str(data), config, ("http://127.0.0.1:1",), 5.5, "1"
    )


def test_the_data_directory_is_private(tmp_path: Path) -> None:
    data = prepare_data_dir(tmp_path / "deep" / "data")
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "logs").stat().st_mode & 0o777 == 0o700


def test_an_open_data_directory_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    prepare_data_dir(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_data_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"the data directory .* can't be made") as caught:
        prepare_data_dir(tmp_path / "file" / "data")
    assert "--data-dir" in caught.value.hint


def test_the_runtime_directory_is_private_short_and_the_same_again(private: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 30)
    first = make_runtime_dir(deep)
    assert first.parent == private
    assert first.stat().st_mode & 0o777 == 0o700
    assert len(str(first / "services.sock")) <= paths.LONGEST_SOCKET_PATH
    assert make_runtime_dir(deep) == first
    assert make_runtime_dir(tmp_path) != first


def test_without_a_usable_runtime_dir_it_lies_in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)  # others may look in: not for us
    for unusable in ("", str(tmp_path), str(tmp_path / "missing"), str(tmp_path / ("x" * 90))):
        monkeypatch.setenv("XDG_RUNTIME_DIR", unusable)
        found = make_runtime_dir(tmp_path / "data")
        assert found.parent == Path("/tmp")
        assert found.name.startswith(f"portico-{os.geteuid()}-")
        paths.remove_runtime_dir(found)


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_a_name_that_somebody_took_is_not_used(private: Path, tmp_path: Path, kind: str) -> None:
    first = make_runtime_dir(tmp_path)
    first.rmdir()
    if kind == "open":
        first.mkdir()
        first.chmod(0o777)
    elif kind == "link":
        (private / "elsewhere").mkdir(mode=0o700)
        first.symlink_to(private / "elsewhere")
    else:
        first.write_text("")
    other = make_runtime_dir(tmp_path)
    assert other != first
    assert other.stat().st_mode & 0o777 == 0o700
    assert other.name.startswith("portico-")


def test_a_record_is_read_as_it_was_written(private: Path, tmp_path: Path) -> None:
    runtime = make_runtime_dir(tmp_path)
    record = _record(runtime, tmp_path, "/etc/portico.yaml")
    record.write()
    assert read_record(tmp_path) == record
    assert record in list(records())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1}', "not json"])
def test_a_broken_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "runtime.json").write_text(text)
    assert read_record(tmp_path) is None
