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
            schedule.advance()
            board.show(schedule.look())
            while schedule.handles:
                time.sleep(POLL)
                if schedule.collect():
                    schedule.advance()
                board.show(schedule.look())
        finally:
            schedule.end()
    return schedule.failed


class _Schedule:
    """The state of each job: waiting, then running, then done or failed."""

    def __init__(self, jobs: Sequence[Job], executor: Executor, at_once: int, then: Next) -> None:
        self.executor, self.at_once, self.then = executor, at_once, then
        self.states: dict[Job, State] = dict.fromkeys(jobs, "waiting")
        self.handles: dict[Job, Handle] = {}  # of those that run
        self.failed: dict[Job, str] = {}  # and why
        self.seen: dict[Job, tuple[State, Standing]] = {}

    def advance(self) -> None:
        """Add the jobs that follow and start what can be; again where a start was refused."""
        refused = True
        while refused:
            self.give_up()
            for job in self.then(self.states):
                self.states.setdefault(job, "waiting")
            self.give_up()
            refused = self.start()

    def give_up(self) -> None:
        """Fail the waiting jobs that need a failed one, and those that need these in turn."""
        while lost := {
            job: broken
            for job, state in self.states.items()
            if state == "waiting" and (broken := self.needed(job, "failed"))
        }:
            for job, broken in lost.items():
                self.fail(job, f"it needs {', '.join(broken)}, which failed")

    def start(self) -> bool:
        """Start waiting jobs that need no other while there is room, evaluations first.

        Returns whether one was refused, as a cluster does with a partition that it does not have.
        """
        refused = False
        for job in sorted(self.states, key=lambda job: job.epochs > 0):
            held = self.needed(job, "waiting", "running", "failed")
            if self.states[job] != "waiting" or held or len(self.handles) >= self.at_once:
                continue
            try:
                self.handles[job] = self.executor.submit(job)
                self.states[job] = "running"
            except (OSError, RuntimeError) as error:
                self.fail(job, f"it could not be started: {error}")
                refused = True
        return refused

    def collect(self) -> bool:
        """Note which jobs have ended, and how; returns whether any has."""
        before = len(self.handles)
        for job, handle in list(self.handles.items()):
            broken = handle.failed()
            if broken is None:
                continue
            del self.handles[job]
            self.states[job] = "done"
            if broken:
                self.fail(job, tail(handle.log) or WORDLESS)
        return len(self.handles) < before

    def fail(self, job: Job, why: str) -> None:
        self.states[job], self.failed[job] = "failed", why

    def needed(self, job: Job, *states: State) -> list[str]:
        """The names in its `after` whose jobs are in one of these states."""
        by_name = {other.name: state for other, state in self.states.items()}
        return [name for name in job.after if by_name.get(name) in states]

    def look(self) -> Mapping[Job, tuple[State, Standing]]:
        """The state and progress of each job, read again where it may have changed."""
        for job, state in self.states.items():
            if state == "running" or job not in self.seen or state != self.seen[job][0]:
                self.seen[job] = state, standing(job)
        return self.seen

    def end(self) -> None:
        for handle in self.handles.values():
            handle.interrupt()
        for handle in self.handles.values():
            handle.end()
