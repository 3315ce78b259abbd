"""The arithmetic of the benchmark's table."""

from report import Runs, summary, table


def run(rate: float, core: float = 1.0) -> dict[str, float]:
    return {"requests_per_second": rate, "cpu_us_per_request": 1e6 / rate, "core": core, "p50_ms": 1.0, "p99_ms": 2.0}


RUNS = {
    "same fields": {
        "nginx": [run(100.0), run(50.0), run(200.0)],
        "portico compiled": [run(70.0), run(40.0), run(100.0)],
        "portico interpreted": [run(40.0), run(20.0), run(80.0)],
    }
}


def test_the_ratio_is_the_median_of_each_rounds_ratio() -> None:
    compiled = summary(RUNS)["same fields"]["portico compiled"]
    assert compiled["requests_per_second"] == 70.0
    assert (compiled["least"], compiled["most"]) == (40.0, 100.0)
    assert compiled["cpu_ratio"] == 0.7
    assert (compiled["ratio_least"], compiled["ratio"], compiled["ratio_most"]) == (0.5, 0.7, 0.8)


def rendered(runs: Runs) -> str:
    about = {"processor": "P", "cores": "2", "kernel": "Linux", "python": "3.11", "nginx": "1.22", "load": "0"}
    return table(
        {
            "date": "2026-01-01",
            "machine": about,
            "rounds": 3,
            "seconds": 1.0,
            "connections": 64,
            "summary": summary(runs),
        }
    )


def test_the_table_says_which_bound_is_met() -> None:
    text = rendered(RUNS)
    assert "portico compiled | 70 (40–100) | 0.70 (0.50–0.80) | 0.6 met |" in text
    assert "portico interpreted | 40 (20–80) | 0.40 (0.40–0.40) | 0.45 **missed** |" in text


def test_a_disturbed_run_is_not_judged() -> None:
    text = rendered({"same fields": {"nginx": [run(100.0, core=0.6)], "portico compiled": [run(90.0)]}})
    assert "| 0.6 not judged: disturbed |" in text
    assert "met" not in text
