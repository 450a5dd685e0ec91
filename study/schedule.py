"""Keep jobs going, so many at a time, until all are done."""

import time
from collections.abc import Sequence

from study.board import Board
from study.executors import Executor, Handle
from study.jobs import Job
from study.standing import standing, tail

POLL = 1.0  # seconds between two looks
WORDLESS = "it was ended without a word: too little memory, or by someone"


def run_all(jobs: Sequence[Job], executor: Executor, at_once: int, board: Board) -> dict[Job, str]:
    """Run the jobs, at most so many at once; returns the last lines of those that failed.

    A job that waits for a failed one fails with it; all others go on. Whatever ends this, Ctrl-C
    above all, ends the jobs, too.
    """
    states = dict.fromkeys(jobs, "waiting")
    handles: dict[Job, Handle] = {}
    failed: dict[Job, str] = {}
    with board:
        try:
            while True:
                for job, handle in list(handles.items()):
                    if (broken := handle.failed()) is not None:
                        del handles[job]
                        states[job] = "failed" if broken else "done"
                        if broken:
                            failed[job] = tail(handle.log) or WORDLESS
                _start(states, handles, failed, executor, at_once)
                board.show({job: (state, standing(job)) for job, state in states.items()})
                if not handles:
                    return failed
                time.sleep(POLL)
        finally:
            for handle in handles.values():
                handle.interrupt()
            for handle in handles.values():
                handle.end()


def _start(
    states: dict[Job, str],
    handles: dict[Job, Handle],
    failed: dict[Job, str],
    executor: Executor,
    at_once: int,
) -> None:
    """Start waiting jobs while there is room, and give up those whose forerunners failed."""
    by_name = {job.name: job for job in states}

    def before(job: Job, *wanted: str) -> list[str]:
        """Its forerunners in one of these states."""
        return [name for name in job.after if name in by_name and states[by_name[name]] in wanted]

    waiting = [job for job, state in states.items() if state == "waiting"]
    # One that is given up may be what another one waits for.
    while lost := [job for job in waiting if states[job] == "waiting" and before(job, "failed")]:
        for job in lost:
            states[job] = "failed"
            failed[job] = f"it needs {', '.join(before(job, 'failed'))}, which failed"
    for job in waiting:
        ready = states[job] == "waiting" and not before(job, "waiting", "running")
        if ready and len(handles) < at_once:
            handles[job] = executor.submit(job)
            states[job] = "running"
