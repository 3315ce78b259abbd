"""How tools/run_tests.py counts, and what it runs."""

from pathlib import Path

import run_tests

REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="good"/>
<testcase classname="tests.a" name="bad"><failure message="x"/></testcase>
<testcase classname="tests.a" name="broken"><error message="x"/></testcase>
<testcase classname="tests.a" name="away"><skipped message="no Redis here"/></testcase>
</testsuite></testsuites>"""


def test_a_report_is_counted_and_every_skip_keeps_its_reason(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    tally = run_tests.Tally()
    tally.add("interpreted", report)
    tally.add("compiled", report)
    assert (tally.passed, tally.failed) == (2, 4)
    assert tally.skipped == [f"tests.a.away ({name}): no Redis here" for name in ("interpreted", "compiled")]


def test_every_folder_of_tests_runs_and_the_hot_ones_twice() -> None:
    runs = list(run_tests.passes(long=False, compiles=True))
    interpreted = [folder for each in runs if each.compiled == "0" for folder in each.folders]
    existing = {path.name for path in run_tests.TESTS.iterdir() if path.is_dir() and any(path.rglob("test_*.py"))}
    assert existing <= set(interpreted)
    assert [each.folders for each in runs if each.compiled == "1"] == [run_tests.HOT]
    assert {each.marker for each in runs} == {"not long"}


def test_without_a_compiler_only_interpreted_ones_run() -> None:
    assert {each.compiled for each in run_tests.passes(long=True, compiles=False)} == {"0"}
