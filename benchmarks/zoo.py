"""Every kind of model people use, traced and proven: one line a model in a file, and docs/zoo.md of all lines.

Run `python -m benchmarks.zoo`. What is in the file already is skipped, so that a run which was stopped goes on;
`--fresh` begins again, `--only GLOB` runs some, `--page` only writes the page. Each model is built, traced and
proven in a process of its own, with a limit of time and memory.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import multiprocessing
import os
import resource
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from benchmarks.measuring import RESULTS
from benchmarks.zoo_page import write_page
from benchmarks.zoo_proof import Result, Specimen, list_specimens, prove

KEPT = RESULTS / "zoo.jsonl"


# ---------------------------------------------------------------------- a process for each model


@dataclass(frozen=True)
class Limits:
    """What one model may take."""

    seconds: float
    n_bytes: int


def _work(specimen: Specimen, limits: Limits, answer: Connection) -> None:
    """Prove one model in a process of its own."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (limits.n_bytes, limits.n_bytes))
    try:
        result = prove(specimen)
    except Exception as error:  # a library's refusal, whatever it is, is a line of the table
        short = MemoryError in type(error).__mro__ or "allocate memory" in str(error)
        result = _without_result(specimen, "memory" if short else "error", f"{type(error).__name__}: {error}")
    answer.send(result)


def _without_result(specimen: Specimen, status: str, note: str) -> Result:
    return Result(
        specimen.key,
        specimen.library,
        specimen.family,
        specimen.name,
        status,
        note=" ".join(note.split())[:300],
    )


def run_all(
    specimens: Iterable[Specimen], limits: Limits, *, n_workers: int, context: BaseContext | None = None
) -> Iterator[Result]:
    """Prove all, a few at a time; yield each result when it is there."""
    context = context or _preloaded()
    waiting = list(specimens)[::-1]
    running: dict[Connection, tuple[Specimen, BaseProcess, float]] = {}
    while waiting or running:
        while waiting and len(running) < n_workers:
            specimen = waiting.pop()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(specimen, limits, theirs))
            process.start()
            theirs.close()
            running[ours] = specimen, process, time.monotonic()
        for ours in _ready(running, limits):
            specimen, process, _ = running.pop(ours)
            yield _receive(ours, specimen, process, limits)


def _preloaded() -> BaseContext:
    """Processes that have all libraries already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.zoo_proof"])
    return context


def _ready(
    running: dict[Connection, tuple[Specimen, BaseProcess, float]], limits: Limits
) -> list[Connection]:
    """Wait until one has answered, died, or used up its time."""
    oldest = min(start for _, _, start in running.values())
    answered = wait(list(running), timeout=max(0.0, oldest + limits.seconds - time.monotonic()))
    late = [c for c, (_, _, start) in running.items() if time.monotonic() - start >= limits.seconds]
    return list(dict.fromkeys([*answered, *late]))  # type: ignore[list-item]


def _receive(ours: Connection, specimen: Specimen, process: BaseProcess, limits: Limits) -> Result:
    try:
        if ours.poll():
            return ours.recv()  # type: ignore[no-any-return]
        return _without_result(specimen, "time", f"not done after {limits.seconds:.0f} s")
    except EOFError:
        return _without_result(specimen, "memory", f"its process was ended (exit code {process.exitcode})")
    finally:
        process.kill()
        process.join()
        ours.close()


# ---------------------------------------------------------------------- the file


def read_results(path: Path) -> dict[str, Result]:
    """What was proven so far, by library and name; the last line of a model counts."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["key"]: Result(**row) for row in rows}


def append_result(path: Path, result: Result) -> None:
    with path.open("a") as file:
        file.write(json.dumps(asdict(result)) + "\n")


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="begin again")
    parser.add_argument("--only", default="*", help="a glob on library:name")
    parser.add_argument("--page", action="store_true", help="write docs/zoo.md of what is there, run nothing")
    parser.add_argument("--retry", action="store_true", help="run again what was not proven")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--seconds", type=float, default=240.0, help="limit for one model")
    parser.add_argument("--gigabytes", type=float, default=10.0, help="limit for one model, of address space")
    parser.add_argument("--kept", type=Path, default=KEPT, help="the file of results")
    chosen = parser.parse_args()
    if chosen.fresh:
        chosen.kept.unlink(missing_ok=True)
    chosen.kept.parent.mkdir(parents=True, exist_ok=True)
    done = {key for key, r in read_results(chosen.kept).items() if not chosen.retry or r.status == "proven"}
    todo = [s for s in list_specimens() if s.key not in done and fnmatch.fnmatch(s.key, chosen.only)]
    limits = Limits(chosen.seconds, int(chosen.gigabytes * 2**30))
    for number, result in enumerate(
        [] if chosen.page else run_all(todo, limits, n_workers=chosen.workers), 1
    ):
        append_result(chosen.kept, result)
        overhead = f"{result.traced / result.plain:.2f} x" if result.plain else result.note
        print(
            f"{number}/{len(todo)} {result.status:7} {result.key} {result.n_operations} {overhead}",
            flush=True,
        )
    write_page(list(read_results(chosen.kept).values()))


if __name__ == "__main__":
    main()
