"""Actors that take turns: real threads, of which one runs at a time, and a lot that says who is next.

Each piece of the product that runs by itself (a slice, a webhook's delivery, a portal's write) is an actor. It gives
up its turn at named points: before each statement, commit and call to MLM, and before a bell. There the lot decides
whether it goes on, whoever else goes on instead, or its process dies. Two actors that want the same row of PostgreSQL
do wait for each other, as they would in life; the scheduler sees it in PostgreSQL and lets somebody else run.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

_acting: contextvars.ContextVar[Actor] = contextvars.ContextVar("acting")

#: How long an actor may run before PostgreSQL is asked whether it waits for a lock.
LOOK_AFTER_S = 0.003
#: An actor that neither gives up its turn nor waits for a lock for so long is stuck; nothing here takes as long.
STUCK_AFTER_S = 60.0


class Crashed(BaseException):
    """The process that this actor belongs to has been killed: nothing that it does any more has an effect."""


class Stuck(AssertionError):
    """Nobody can go on."""

    def __init__(self, actors: list[str]) -> None:
        super().__init__(f"nobody can go on: {', '.join(actors)}")


@dataclass(eq=False)
class Actor:
    """Something that runs by itself, in a process that may die. `state`: ready, running, blocked, done."""

    name: str
    process: str
    work: Callable[[], object]
    state: str = "ready"
    at: str = "begin"
    doomed: bool = False
    #: Not before this moment of the simulation's clock, seconds.
    not_before: float = 0.0
    error: BaseException | None = None
    #: The backend of PostgreSQL that its last statement went to.
    backend: int = 0
    #: It would rather be told at once than wait for a lock.
    impatient: bool = False
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def is_alive(self) -> bool:
        """Whether it has something left to do."""
        return self.state != "done"


class Scheduler:
    """Starts actors and lets one of them run at a time. `blocked`: whether a backend waits for another."""

    def __init__(self, lot: Random, blocked: Callable[[int], bool]) -> None:
        self.lot = lot
        self.actors: list[Actor] = []
        #: By chance an actor goes on at a point without giving up its turn; 0 is alone from end to end.
        self.switching = 0.5
        self.trace: Callable[[str], None] = lambda line: None
        self._blocked = blocked
        self._turn = threading.Condition()
        self._names: dict[str, int] = {}

    def start(self, name: str, process: str, work: Callable[[], object]) -> Actor:
        """A new actor, ready at its beginning."""
        self._names[name] = self._names.get(name, 0) + 1
        actor = Actor(f"{name}#{self._names[name]}", process, work)
        context = contextvars.copy_context()
        context.run(_acting.set, actor)
        thread = threading.Thread(target=context.run, args=(self._live, actor), name=actor.name, daemon=True)
        self.actors.append(actor)
        thread.start()
        return actor

    def ready(self, now: float) -> list[Actor]:
        """Who could go on."""
        return [actor for actor in self.actors if actor.state == "ready" and actor.not_before <= now]

    def run(self, actor: Actor) -> None:
        """Let the actor go on until it gives up its turn, waits for a lock, or ends."""
        with self._turn:
            actor.state = "running"
        actor.go.release()
        self._await(actor)
        self.settle()
        self.actors = [each for each in self.actors if each.is_alive]

    def kill(self, process: str) -> list[Actor]:
        """Kill a process: its actors end where they stand, their transactions are rolled back."""
        killed = [actor for actor in self.actors if actor.process == process and actor.state == "ready"]
        for actor in killed:
            actor.doomed = True
            self.run(actor)
        return killed

    def settle(self) -> None:
        """Wait until everybody who waited for a lock that is free now has come to a point."""
        for actor in self.actors:
            if actor.state == "blocked":
                self._await(actor)

    # the actors' side

    def point(self, at: str) -> None:
        """Give up the turn, if the lot says so. Called by actors' own code; of no effect anywhere else."""
        actor = _acting.get(None)
        if actor is None:
            return
        if actor.doomed:
            raise Crashed
        actor.at = at
        if actor.state == "running" and self.lot.random() >= self.switching:
            return
        self._give_up(actor)

    def wait(self, until: float) -> None:
        """Give up the turn until a moment of the simulation's clock."""
        actor = _acting.get()
        # Up to the clock's own microseconds, or it would never be reached.
        actor.not_before, actor.at = math.ceil(until * 1e6) / 1e6, "waits"
        self._give_up(actor)

    def using(self, backend: int, impatient: bool) -> None:
        """The actor that runs sends a statement to this backend of PostgreSQL."""
        actor = _acting.get(None)
        if actor is not None:
            actor.backend, actor.impatient = backend, impatient

    def released(self) -> None:
        """The actor that runs has given back its locks: whoever waited for one comes to his next point before it goes
        on itself. One that only now stops waiting has his own next point to come to."""
        actor = _acting.get(None)
        if actor is None or actor.state == "running":
            self.settle()

    @staticmethod
    def is_dead() -> bool:
        """Whether the caller belongs to a process that was killed."""
        actor = _acting.get(None)
        return actor is not None and actor.doomed

    def _give_up(self, actor: Actor) -> None:
        with self._turn:
            actor.state = "ready"
            self._turn.notify_all()
        actor.go.acquire()
        if actor.doomed:
            raise Crashed

    def _live(self, actor: Actor) -> None:
        actor.go.acquire()
        try:
            if not actor.doomed:
                actor.work()
        except Crashed:
            pass
        except BaseException as error:  # noqa: BLE001 - the history says what an actor died of
            actor.error = error
        finally:
            with self._turn:
                actor.state = "done"
                self._turn.notify_all()

    def _await(self, actor: Actor) -> None:
        """Wait until an actor that runs, or did wait for a lock, is at a point, is done, or waits for a lock."""
        waited = actor.state == "blocked"
        for _ in range(round(STUCK_AFTER_S / LOOK_AFTER_S)):
            if waited and self._blocked(actor.backend):
                return
            with self._turn:
                if actor.state in ("ready", "done") or (
                    self._turn.wait(LOOK_AFTER_S) and actor.state in ("ready", "done")
                ):
                    return
            if not waited and not actor.impatient and self._blocked(actor.backend):
                actor.state = "blocked" if actor.state == "running" else actor.state
                return
        raise Stuck([f"{each.name} at {each.at} ({each.state})" for each in self.actors])
