"""What is measured on a server of its own each time: starts, memory, connections, models."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from ..archives import picture, write_archive
from ..load.connections import Connections
from ..load.wrk import run_wrk
from ..peers.base import HOST, Running, Service, Work
from ..peers.torchserve import MODEL
from .base import P50, P99, PSS, RATE, Column
from .load import SMALL

_OTHER_FILES: Final = 200
_REST_S: Final = 6.0
_LOAD_CLIENTS: Final = 64
ECHO: Final = "echo"
_OTHERS: Final = "others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """A server is started, measured once and stopped.

    Attributes:
        name: as the command line and the files have it.
        title: heading of its table.
        service: what is served at a point.
        body: of requests.
        axis: what the points are.
        points: where it is measured.
        quick: where it is measured by the quick profile.
        measure: figures of a server that has answered once: server, point, seconds, folder.
        columns: of its table.
        peers: who takes part; () for all that can.
    """

    name: str
    title: str
    service: Callable[[float], Service]
    body: Callable[[], bytes]
    axis: str
    points: Sequence[float]
    quick: Sequence[float]
    measure: Callable[[Running, float, float, Path], Mapping[str, float]]
    columns: Sequence[Column]
    peers: Sequence[str] = ()

    @property
    def has_model(self) -> bool:
        """Nothing here is compared with a ceiling."""
        return False


def first_answer(running: Running, at: float, seconds: float, folder: Path) -> dict[str, float]:
    """The clock began when the process was launched; the answer has just come."""
    del at, seconds, folder
    return {"start_s": running.answered_at - running.started_at}


def scale_up(running: Running, at: float, seconds: float, folder: Path) -> dict[str, float]:
    """Until the management API says that there are so many workers."""
    del seconds, folder
    manage = running.launch.manage
    assert manage is not None
    begun = time.perf_counter()
    manage("PUT", f"/models/{MODEL}?min_worker={at:.0f}&synchronous=true")
    return {"scale_ms": (time.perf_counter() - begun) * 1000}


def memory_of_workers(
    running: Running, at: float, seconds: float, folder: Path
) -> dict[str, float]:
    """Of the whole tree: when all workers have worked, and after a rest."""
    del seconds, folder
    with ThreadPoolExecutor(int(2 * at)) as pool:
        answers = list(pool.map(lambda _: running.ask(picture()), range(int(10 * at))))
    wrong = [answer for answer in answers if answer.status != 200]
    if wrong:
        raise SystemExit(f"{running.peer}: wrong answer {wrong[0]}")
    worked = running.tree.memory_mb()
    time.sleep(_REST_S)
    rested = running.tree.memory_mb()
    return {
        "pss_mb": worked["pss"],
        "uss_mb": worked["uss"],
        "first_mb": worked["first"],
        "rested_mb": rested["pss"],
        "processes": worked["processes"],
    }


def idle_connections(running: Running, at: float, seconds: float, folder: Path) -> dict[str, float]:
    """Each has had one answer, and is kept open."""
    del seconds, folder
    count = int(at)
    allow_files(count)
    uvloop.run(_open_and_close(running, 50))  # what is needed once
    before = running.tree.memory_mb()["uss"]
    opened = uvloop.run(_open_and_close(running, count))
    return {
        "before_mb": before,
        "open_mb": opened,
        "each_kb": (opened - before) * 1000 / count,
    }


async def _open_and_close(running: Running, count: int) -> float:
    """USS of the tree while they are open."""
    connections = Connections(
        HOST, running.launch.port, running.launch.path, running.launch.encode(SMALL)
    )
    await connections.open(count, running.headers())
    await asyncio.sleep(1.0)  # logs are written, and answers are forgotten
    await connections.check_alive()
    opened = running.tree.memory_mb()["uss"]
    await connections.close()
    return opened


def allow_files(count: int) -> None:
    """Let this process have so many connections; servers that are started inherit it.

    Raises:
        SystemExit: the hard limit is lower.
    """
    wanted = count + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"{count} connections need `ulimit -Hn` {wanted}; it is {hard}")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def registered_models(
    running: Running, at: float, seconds: float, folder: Path
) -> dict[str, float]:
    """So many more names of another archive, without workers; then load on the first."""
    manage = running.launch.manage
    assert manage is not None
    # The archive of the first one wants a worker, and says so for every name it is registered by.
    write_archive(folder / "store" / f"{_OTHERS}.mar", "echo.py", {"minWorkers": 0}, {})
    begun = time.perf_counter()
    for number in range(1, int(at)):
        manage("POST", f"/models?url={_OTHERS}.mar&model_name=m{number}&initial_workers=0")
    register_s = time.perf_counter() - begun
    found = under_load(running, at, seconds, folder)
    return {**found, "register_ms": register_s * 1000 / max(at - 1, 1)}


def under_load(running: Running, at: float, seconds: float, folder: Path) -> dict[str, float]:
    """64 clients of an echo."""
    del at
    file = folder / "body"
    file.write_bytes(running.launch.encode(SMALL))
    for duration in (1.0, seconds):
        load = run_wrk(
            running.url,
            file,
            running.answer_size,
            clients=_LOAD_CLIENTS,
            seconds=duration,
            headers=running.headers(),
        )
    if load.errors:
        raise SystemExit(f"{running.peer}: {load.errors} wrong answers")
    return {
        "rate": load.rate,
        "p50_us": load.p50_us,
        "p99_us": load.p99_us,
        "pss_mb": running.tree.memory_mb()["pss"],
    }


_MANAGED: Final = ("tsl", "torchserve")

FRESH: Final = (
    Fresh(
        name="start",
        title="From launch to the first right answer, echo",
        service=lambda _: Service(),
        body=lambda: SMALL,
        axis="workers",
        points=(1,),
        quick=(1,),
        measure=first_answer,
        columns=(Column("start_s", "seconds", 2),),
    ),
    Fresh(
        name="start-classify",
        title="From launch to the first right answer, the demo's classifier (with torch)",
        service=lambda _: Service(work=Work.CLASSIFY),
        body=picture,
        axis="workers",
        points=(1,),
        quick=(1,),
        measure=first_answer,
        columns=(Column("start_s", "seconds", 2),),
    ),
    Fresh(
        name="scale",
        title="One worker more, the demo's classifier",
        service=lambda _: Service(work=Work.CLASSIFY),
        body=picture,
        axis="workers",
        points=(2,),
        quick=(2,),
        measure=scale_up,
        columns=(Column("scale_ms", "ms"),),
        peers=(*_MANAGED, "tsl-demo"),
    ),
    Fresh(
        name="memory",
        title="Memory of all processes, the demo's classifier",
        service=lambda at: Service(work=Work.CLASSIFY, workers=int(at)),
        body=picture,
        axis="workers",
        points=(1, 8),
        quick=(1,),
        measure=memory_of_workers,
        columns=(
            Column("pss_mb", "PSS MB"),
            Column("uss_mb", "USS MB"),
            Column("first_mb", "of it the first process"),
            Column("rested_mb", "PSS MB after 6 s without work"),
            Column("processes", "processes"),
        ),
    ),
    Fresh(
        name="idle",
        title="Idle connections",
        service=lambda _: Service(),
        body=lambda: SMALL,
        axis="connections",
        points=(10_000,),
        quick=(2_000,),
        measure=idle_connections,
        columns=(
            Column("open_mb", "USS MB with them"),
            Column("before_mb", "USS MB before"),
            Column("each_kb", "kB each", 1),
        ),
    ),
    Fresh(
        name="models",
        title="Registered models, of which one is asked by 64 clients",
        service=lambda _: Service(),
        body=lambda: SMALL,
        axis="models",
        points=(1, 10, 100),
        quick=(1, 100),
        measure=registered_models,
        columns=(RATE, P50, P99, PSS, Column("register_ms", "ms to register one", 1)),
        peers=_MANAGED,
    ),
    Fresh(
        name="workers",
        title="Workers of an echo, 64 clients, batch size 1",
        service=lambda at: Service(workers=int(at)),
        body=lambda: SMALL,
        axis="workers",
        points=(1, 2, 4, 8),
        quick=(1, 2),
        measure=under_load,
        columns=(RATE, P50, P99, PSS),
        peers=("tsl", "mosec"),
    ),
)
