"""Run jobs, several at a time, until all are done."""

import time
from collections.abc import Callable, Mapping, Sequence

from study.board import Board
from study.executors import Executor, Handle
from study.jobs import Job, State
from study.standing import Standing, standing, tail

POLL = 1.0  # seconds
WORDLESS = "killed without output (out of memory, or by a user)"

Next = Callable[[Mapping[Job, State]], Sequence[Job]]


def no_jobs(_: Mapping[Job, State]) -> list[Job]:
    """Nothing follows."""
    return []


def run_all(
    jobs: Sequence[Job], executor: Executor, at_once: int, board: Board, then: Next = no_jobs
) -> dict[Job, str]:
    """Run the jobs, at most so many at once; returns the last lines of those that failed.

    A job that waits for a failed one fails with it; all others continue. At the start and whenever
    a job ends, `then` maps the state of each job to the jobs that can follow; each is run once.
    Ctrl-C, or any other error, ends the running jobs, too.
    """
    schedule = _Schedule(jobs, executor, at_once, then)
    with board.live:
        try:
            schedule.start()
            board.show(schedule.look())
            while schedule.handles:
                time.sleep(POLL)
                if schedule.collect():
                    schedule.start()
                board.show(schedule.look())
        finally:
            for handle in schedule.handles.values():
                handle.interrupt()
            for handle in schedule.handles.values():
                handle.end()
    return schedule.failed


class _Schedule:
    """The state of each job: waiting, then running, then done or failed."""

    def __init__(self, jobs: Sequence[Job], executor: Executor, at_once: int, then: Next) -> None:
        self.executor, self.at_once, self.then = executor, at_once, then
        self.states: dict[Job, State] = dict.fromkeys(jobs, "waiting")
        self.handles: dict[Job, Handle] = {}  # of those that run
        self.failed: dict[Job, str] = {}  # and why
        self.seen: dict[Job, tuple[State, Standing]] = {}

    def start(self) -> None:
        """Add the jobs that follow, and start those that can be while there is room.

        Evaluations come first. Once more where a start was refused, as a cluster does with a
        partition that it does not have: what follows a failure can then start.
        """
        before = -1
        while before != len(self.failed):
            before = len(self.failed)
            for job in self.then(self.states):
                self.states.setdefault(job, "waiting")
            for job in sorted(self.states, key=lambda job: job.epochs > 0):
                if len(self.handles) < self.at_once and self.can_start(job):
                    try:
                        self.handles[job] = self.executor.submit(job)
                        self.states[job] = "running"
                    except (OSError, RuntimeError) as error:
                        self.fail(job, f"it could not be started: {error}")

    def can_start(self, job: Job) -> bool:
        """Whether it waits, and for no other."""
        left = {other.name for other, state in self.states.items() if state != "done"}
        return self.states[job] == "waiting" and not left.intersection(job.after)

    def collect(self) -> bool:
        """Note which jobs have ended, and how; returns whether any has."""
        polled = {job: handle.failed() for job, handle in self.handles.items()}
        ended = {job: broken for job, broken in polled.items() if broken is not None}
        for job, broken in ended.items():
            handle = self.handles.pop(job)
            self.states[job] = "done"
            if broken:
                self.fail(job, tail(handle.log) or WORDLESS)
        return bool(ended)

    def fail(self, job: Job, why: str) -> None:
        """Fail a job, those that wait for it, and those that wait for these in turn."""
        self.states[job], self.failed[job] = "failed", why
        for other, state in self.states.items():
            if state == "waiting" and job.name in other.after:
                self.fail(other, f"it needs {job.name}, which failed")

    def look(self) -> Mapping[Job, tuple[State, Standing]]:
        """The state and progress of each job, read again where it may have changed."""
        for job, state in self.states.items():
            if state == "running" or job not in self.seen or state != self.seen[job][0]:
                self.seen[job] = state, standing(job)
        return self.seen
