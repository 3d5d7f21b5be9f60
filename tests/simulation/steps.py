"""What may happen in a history besides work: each a function of the history, by the name that plans draw it by."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from freshness.bell import Work
from freshness.ledger import restores
from mlm_client.sandbox import editing

if TYPE_CHECKING:
    from .history import History

Step = Callable[["History"], None]


def outsider_saves(history: History) -> None:
    """An outsider edits one concern, changing, adding or removing a record."""
    lot, sandbox = history.lot, history.sandbox
    history.left -= 1
    concern = lot.choice(history.house.rules.active).value
    op = lot.choice(["change", "change", "change", "add", "remove"]) if concern != "borrowers" else "change"
    history.outsider(lambda ref: editing.touch(sandbox.store, sandbox.maker, ref, concern, op))


def own_write(history: History) -> None:
    """The portal writes, in one of its ways."""
    history.left -= 1
    ref = history.lot.choice(history.refs)
    name, write = history.portal.some_write(ref)
    history.start(name, "portal", write)


def deliver(history: History) -> None:
    """Some of what MLM owes us arrives, in any order."""
    size = history.lot.randint(1, len(history.hooks))
    history.deliver(history.lot.sample(history.hooks, size))


def lose(history: History) -> None:
    """A webhook never comes."""
    history.lost.add(history.hooks.pop(history.lot.randrange(len(history.hooks))).ref)


def double(history: History) -> None:
    """A webhook will stand twice in its batch."""
    history.lot.choice(history.hooks).times = 2


def work(history: History) -> None:
    """A worker begins on something that was rung for."""
    waiting = len(history.house.bells.waiting)
    history.work(history.lot.randrange(waiting) if history.lot.random() < 0.3 else 0)


def sweep(history: History) -> None:
    """The schedule sweeps."""
    history.start("sweep", "scheduler", history.house.sweep.ring_what_is_due)


def time_passes(history: History) -> None:
    """A moment, a while or a long time."""
    assert history.plan is not None
    history.later(history.lot.choice(history.plan.moments))


def kill(history: History) -> None:
    """A process is killed, wherever its actors stand. A worker is followed by another under a new name."""
    processes = sorted({actor.process for actor in history.scheduler.actors if actor.state == "ready"})
    if not processes:
        return
    name = history.lot.choice(processes)
    history.note(f"killed: {name}")
    history.scheduler.kill(name)
    if history.house.workers.pop(name, None) is not None:
        history.house.hire()


def flush(history: History) -> None:
    """Redis loses what waits."""
    history.house.bells.waiting.clear()


def redis_goes(history: History) -> None:
    """Redis is away, or back."""
    history.house.bells.away = not history.house.bells.away


def freeze(history: History) -> None:
    """A worker stands still, or goes on after however long it stood."""
    worker = history.lot.choice(list(history.house.workers.values()))
    worker.frozen = not worker.frozen


def ill(history: History) -> None:
    """MLM answers some calls with errors of every form, or does so no more; or is away altogether."""
    assert history.plan is not None
    dials = history.sandbox.dials
    if dials.now.fault_share or dials.now.outage:
        dials.patch(fault_share=0.0, outage="")
    elif history.lot.random() < 0.2:
        dials.patch(outage=history.lot.choice(["html503", "reset", "429"]))
    else:
        dials.patch(fault_share=history.plan.fault_share, fault_effect=history.lot.random() < 0.5)


def blank_stamps(history: History) -> None:
    """MLM sends no stamps, or does again."""
    dials = history.sandbox.dials
    dials.patch(stamp_form="iso" if dials.now.stamp_form == "blank" else "blank")


def forget_tickets(history: History) -> None:
    """Every ticket ends at once."""
    history.sandbox.tickets.revoke()


def clock_jumps(history: History) -> None:
    """MLM's clock is put forward or back; what it stamps until it has caught up may be older than what we hold."""
    jump_s = history.lot.choice([-3600.0, -60.0, -0.5, 0.5, 60.0])
    now_s = history.sandbox.dials.now.clock_offset_s
    history.sandbox.dials.patch(clock_offset_s=max(-7200.0, min(7200.0, now_s + jump_s)))
    if jump_s < 0:
        history.lost.update(history.refs)


def restored(history: History) -> None:
    """MLM comes back from a backup that was made at some time before; nobody tells us."""
    store = history.sandbox.store
    if not history.holding.backups or history.lot.random() < 0.5:
        history.holding.backups.append(store.back_up(history.refs))
        return
    history.lost.update(history.refs)
    for ref in store.roll_back(history.lot.choice(history.holding.backups)):
        history.note_if_untold(ref)


def begin_anew(history: History) -> None:
    """An operator begins a new epoch for a file."""
    ref = history.lot.choice(history.refs)
    found = history.postgres.rows("SELECT id FROM file_freshness WHERE ref = %s", ref)

    def begin() -> None:
        with history.postgres.engine.begin() as conn:
            rings = restores.begin_anew(conn, history.house.rules, found[0][0]).rings
        history.house.bells(rings)

    if found:
        history.start("new epoch", "console", begin)


def file_goes(history: History) -> None:
    """A file is deleted in MLM, or brought back."""
    store = history.sandbox.store
    history.left -= 1
    history.outsider(lambda ref: store.restore(ref) if store.newest(ref).deleted else store.delete(ref))


def renumbered(history: History) -> None:
    """A file gets another loan number."""
    sandbox, number = history.sandbox, f"N{history.lot.randrange(10**6)}"
    history.outsider(lambda ref: editing.renumber(sandbox.store, sandbox.maker, ref, number))


def lead_becomes_loan(history: History) -> None:
    """A lead becomes a loan of the same reference."""
    history.outsider(lambda ref: editing.convert(history.sandbox.store, ref))


def refresh(history: History) -> None:
    """The portal asks for a file to be read again."""
    ref = history.lot.choice(history.refs)
    history.start("refresh", "receiver", lambda: history.house.post(f"/api/v1/loans/{ref}/mlm/refresh", {}))


def confirmation(history: History) -> None:
    """A backstop looks at a file, whoever's turn it is."""
    history.ring(Work.CHECK, history.lot.choice(history.refs))


def audit(history: History) -> None:
    """The audit reads a whole file and compares, whoever's turn it is."""
    history.ring(Work.AUDIT, history.lot.choice(history.refs))


def late_saves(history: History) -> None:
    """MLM makes the saves that follow from others."""
    with suppress(editing.BadEdit):
        history.sandbox.store.run_pending(all_now=True)


STEPS: dict[str, Step] = {
    "an outsider saves": outsider_saves,
    "an own write": own_write,
    "deliver": deliver,
    "lose a webhook": lose,
    "double a webhook": double,
    "work": work,
    "sweep": sweep,
    "time passes": time_passes,
    "kill a process": kill,
    "flush Redis": flush,
    "Redis goes or comes": redis_goes,
    "freeze or thaw a worker": freeze,
    "MLM is ill or well": ill,
    "MLM's stamps are blank or not": blank_stamps,
    "MLM forgets its tickets": forget_tickets,
    "MLM's clock jumps": clock_jumps,
    "MLM is restored": restored,
    "an operator begins anew": begin_anew,
    "a file goes or comes": file_goes,
    "a file is renumbered": renumbered,
    "a lead becomes a loan": lead_becomes_loan,
    "the portal asks for a refresh": refresh,
    "a confirmation out of turn": confirmation,
    "an audit out of turn": audit,
    "MLM makes its late saves": late_saves,
}
