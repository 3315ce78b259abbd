"""What tools/check_sizes.py lets pass and what it refuses."""

from pathlib import Path

import pytest

import check_sizes


def project(root: Path, sources: dict[str, str], exceptions: str = "") -> Path:
    for name, text in {"setup.py": "x = 1\n", "tools/size_exceptions.txt": exceptions, **sources}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def function(lines: int, name: str = "f") -> str:
    return f"def {name}():\n" + "    x = 1\n" * (lines - 1)


def test_short_files_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_sizes.main(project(tmp_path, {"src/a.py": function(12)})) == 0
    assert "median 12" in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["src", "tests", "tools", "bench"])
def test_a_long_file_is_refused_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str) -> None:
    root = project(tmp_path, {f"{folder}/long.py": "x = 1\n" * 501, "src/a.py": "x = 1\n", "src/b.py": "x = 1\n"})
    assert check_sizes.main(root) == 1
    assert f"{folder}/long.py: 501 lines, at most 500" in capsys.readouterr().out


def test_a_long_method_is_named_by_its_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = "".join(f"    {line}\n" for line in function(81, "m").splitlines())
    assert check_sizes.main(project(tmp_path, {"tests/a.py": f"class C:\n{body}"})) == 1
    assert "tests/a.py::C.m: 81 lines, at most 80" in capsys.readouterr().out


def test_a_function_in_a_function_or_an_if_is_measured() -> None:
    import ast

    tree = ast.parse("if True:\n    def f():\n        def g():\n            pass\n        return g\n")
    assert dict(check_sizes._functions(tree, "")) == {"f": 4, "f.g": 2}


def test_an_exception_lets_its_file_pass_at_its_length(tmp_path: Path) -> None:
    root = project(tmp_path, {"tests/long.py": "x = 1\n" * 510}, "# why\ntests/long.py 510\n")
    assert check_sizes.main(root) == 0


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (511, "tests/long.py: 511 lines, at most 510"),
        (505, "tests/long.py has 505 lines now: lower its 510"),
        (400, "tests/long.py no longer exceeds 500 lines: remove it"),
    ],
)
def test_the_exception_list_may_only_shrink(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: int, complaint: str
) -> None:
    assert check_sizes.main(project(tmp_path, {"tests/long.py": "x = 1\n" * lines}, "tests/long.py 510\n")) == 1
    assert complaint in capsys.readouterr().out


def test_an_exception_for_a_file_that_is_gone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_sizes.main(project(tmp_path, {}, "src/gone.py 600\n")) == 1
    assert "src/gone.py no longer exceeds" in capsys.readouterr().out


def test_budgets_are_of_the_sources_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_sizes.main(project(tmp_path, {"tests/a.py": "x = 1\n" * 400, "src/a.py": "x = 1\n"})) == 0
    assert check_sizes.main(project(tmp_path, {"src/b.py": "x = 1\n" * 400, "src/c.py": "x = 1\n" * 400})) == 1
    assert "the median of files is 400 lines, at most 110" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "share", "expected"), [([], 0.5, 0), ([7], 0.9, 7), ([1, 2], 0.5, 1), (list(range(1, 11)), 0.9, 9)]
)
def test_quantile(values: list[int], share: float, expected: int) -> None:
    assert check_sizes.quantile(values, share) == expected
