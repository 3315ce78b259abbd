"""What tools/check_twins.py misses when a part of a policy is not there."""

from pathlib import Path

import pytest

import check_twins

PARTS = {
    "src/portico/config/policies/rate.py": "x = 1\n",
    "src/portico/edge/policies/rate.py": "def build():\n    pass\n",
    "tests/unit/edge/policies/test_rate.py": "x = 1\n",
}
HELPERS = {"src/portico/config/policies/by.py": "x = 1\n", "src/portico/edge/policies/store.py": "x = 1\n"}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_twins_with_a_test_pass_and_helpers_need_none(tmp_path: Path) -> None:
    assert list(check_twins.missing(write(tmp_path, PARTS | HELPERS))) == []


@pytest.mark.parametrize("lost", PARTS)
def test_a_part_that_is_not_there_is_named(tmp_path: Path, lost: str) -> None:
    write(tmp_path, PARTS)
    (tmp_path / lost).unlink()
    found = list(check_twins.missing(tmp_path))
    assert len(found) == 1
    assert lost in found[0]
