"""Work for the processor: in processes of their own, killed to stop them, while the loop goes on."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from tests.unit.jobs.kit import Bench, eventually

from portico.jobs import Backoff


def spin(payload: dict[str, Any]) -> dict[str, Any]:
    """Keep a processor busy."""
    Path(payload["file"]).write_text(str(os.getpid()))
    end = time.monotonic() + float(payload["seconds"])
    while time.monotonic() < end:
        pass
    return {"pid": os.getpid()}


def die(payload: dict[str, Any]) -> None:
    os._exit(3)


HERE = "tests.unit.jobs.test_cpu"


def test_the_loop_goes_on_and_cancelling_kills_the_process(bench: Bench, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    file = tmp_path / "pid"

    async def written() -> str:
        return file.read_text() if file.exists() else ""

    async def gone(pid: int) -> bool:
        return not Path(f"/proc/{pid}").exists()

    async def work() -> None:
        bench.handle("a.spin", f"{HERE}:spin", cpu=True)
        bench.handle("a.die", f"{HERE}:die", cpu=True, backoff=Backoff(()))
        bench.handle("a.short", f"{HERE}:spin", cpu=True, timeout=0.3, backoff=Backoff(()))
        worker = bench.worker()
        worker.start()
        first = await bench.until(await bench.add("a.spin", {"file": str(file), "seconds": 0.2}), "succeeded")
        file.unlink()
        id_ = await bench.add("a.spin", {"file": str(file), "seconds": 60})
        pid = int(await eventually(written, "it runs"))
        assert first.result == {"pid": pid}, "the same process did both"
        assert pid != os.getpid()
        await bench.jobs.cancel(id_)
        await bench.until(id_, "cancelled")
        await eventually(lambda: gone(pid), "the process is gone")
        assert (await bench.until(await bench.add("a.die"), "failed")).error == "the process that ran it died"
        late = await bench.until(await bench.add("a.short", {"file": str(file), "seconds": 60}), "failed")
        assert late.error == "not done within 0.3 s"
        await worker.stop(1)

    bench.store.run(_watched(work()))


async def _watched(work: Any) -> None:
    """Fail when the loop stands still for two seconds while a job is computed."""
    longest, last, going = 0.0, time.monotonic(), True

    async def tick() -> None:
        nonlocal longest, last
        while going:
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    ticking = asyncio.create_task(tick())
    await work
    going = False
    await ticking
    assert longest < 2, "the loop waited for the computation"
