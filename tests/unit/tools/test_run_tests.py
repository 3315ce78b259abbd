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


def test_every_file_of_tests_runs_and_the_hot_ones_twice() -> None:
    runs = list(run_tests.passes(long=False, compiles=True))
    interpreted = [name for each in runs if each.compiled == "0" for name in each.folders]
    for path in run_tests.TESTS.rglob("test_*.py"):
        inside = path.relative_to(run_tests.TESTS)
        assert len([name for name in interpreted if inside.is_relative_to(name)]) == 1, inside
    assert [each.folders for each in runs if each.compiled == "1"] == [run_tests.HOT]
    assert {each.marker for each in runs} == {"not long"}


def test_what_measures_time_has_less_beside_it() -> None:
    (timed,) = [each for each in run_tests.passes(long=False, compiles=True) if "timed" in each.name]
    assert timed.processes == run_tests.BESIDE_TIMED
    assert "e2e/edge/test_streams.py" in timed.folders
    assert "integration/test_change_reload.py" in timed.folders
    assert "e2e/test_auth_keys.py" not in timed.folders


def test_without_a_compiler_only_interpreted_ones_run() -> None:
    assert {each.compiled for each in run_tests.passes(long=True, compiles=False)} == {"0"}
