"""The steps of the demo. Each makes something happen, waits until it has an effect, compares our copy with MLM's, and
returns what happened in a line; `StepFailed` says what did not hold.
"""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from sqlalchemy import Row

from console import importing
from console.errors import StepFailed
from freshness.concerns import ALL

from .comparing import TABLE_OF
from .scene import Scene, expect, until

Story = str


def import_all(scene: Scene) -> Story:
    """Every file is imported, and equals MLM's."""
    refs, house = [*scene.loans, *scene.leads], scene.laptop.house
    begun = importing.begin(house.engine, refs)
    *_, reached = importing.follow(house.engine, house.bell, begun.run)
    short = importing.shortfalls(house.engine, begun.run)
    expect(reached.served == len(refs) and not short, f"all {len(refs)} files are here (short: {short[:1]})")
    for ref in refs:
        scene.equal(ref)
    rows = scene.copy.rows(" UNION ALL ".join(f"SELECT count(*) AS n FROM {table}" for table in TABLE_OF.values()))  # noqa: S608
    runs = scene.copy.rows("SELECT count(*) AS n FROM slice_runs")[0].n
    return f"{runs} slices, {sum(row.n for row in rows):,} rows below {len(refs)} files, all fresh, all equal to MLM's"


def edits(scene: Scene) -> Story:
    """An outsider edits something in each concern; each edit lands. The first one's stamp, seen by a read, shows that
    webhooks and reads are by one clock: until then every entry orders, unguarded."""
    ref = scene.loans[0]
    told: list[str] = []
    expect(not scene.copy.calibrated(), "nothing is known of MLM's stamps yet")
    for concern in ALL:
        began = scene.copy.now()
        receipt = scene.copy.served(ref, scene.mlm.touch(ref, concern))
        _is(receipt, "dispatched", "newer" if told else "unguarded")
        expect(scene.copy.calibrated(), "a read has shown a webhook's stamp")
        expect(receipt.data_updated_at and receipt.rows_changed, f"{concern}: the receipt says when rows changed")
        run = next((r for r in scene.copy.runs(ref, began) if r.concern == concern and r.rows_changed), None)
        expect(run, f"{concern}: its slice changed a row")
        scene.equal(ref)
        told.append(f"{concern} {(run.finished_at - receipt.received_at).total_seconds() * 1000:.0f}" if run else "")
    return f"ms from webhook to changed row: {', '.join(told)}; the first showed that both clocks agree"


def own_write(scene: Scene) -> Story:
    """An own write with capture is not chased, and is confirmed once quiet."""
    ref, began = scene.loans[1], scene.copy.now()
    file = scene.mlm.file(ref)
    with scene.mlm.turned(webhook_held=True):  # MLM's webhook comes after the capture, as it does in life
        with scene.portal.own_write(ref, capture=True) as outcome:
            scene.portal.save(file, "sSpAddr", "1 Portal Way", "property_address")
        expect(outcome == ["capturing"], "the exit begins a capture")
        scene.copy.captured(ref)
    receipt = scene.copy.receipts(ref, scene.mlm.file(ref)["stamp_text"])[0]
    _is(receipt, "own_echo")
    order = until(f"{ref}: confirmed once quiet", lambda: scene.copy.orders(ref, began))[0]
    scene.equal(ref)
    orders, runs = scene.copy.orders(ref, began), scene.copy.runs(ref, began)
    expect(len(orders) == 1, f"one re-read (there were {len(orders)}: {'; '.join(each.cause for each in orders)})")
    expect(all(run.started_at >= order.placed_at for run in runs), "no slice ran before the file was quiet")
    quiet_s = (order.placed_at - receipt.received_at).total_seconds()
    return f"receipt says own_echo and no slice ran; confirmed {quiet_s:.1f} s later by one re-read"


def edit_inside_capture(scene: Scene) -> Story:
    """An outsider's edit between an own write's registration and its capture lands."""
    ref, began = scene.loans[2], scene.copy.now()
    file = scene.mlm.file(ref)
    with scene.mlm.turned(webhook_held=True):
        with scene.portal.own_write(ref, capture=True):
            theirs = scene.mlm.touch(ref, "conditions")
            scene.portal.save(file, "sSpAddr", "2 Portal Way", "property_address")
        scene.copy.captured(ref)
    for receipt in scene.copy.receipts(ref, theirs, scene.mlm.file(ref)["stamp_text"]):
        _is(receipt, "own_echo")
    until(f"{ref}: confirmed once quiet", lambda: scene.copy.orders(ref, began))
    scene.equal(ref)
    landed = [run for run in scene.copy.runs(ref, began) if run.concern == "conditions" and run.rows_changed]
    expect(landed, "the outsider's condition changed a row")
    return "both webhooks were taken for the own write's echo; the confirmation found the edit all the same"


def dependents(scene: Scene) -> Story:
    """A write with dependents, not captured, brings back what MLM recomputed."""
    ref = scene.loans[3]
    file, before = scene.mlm.file(ref), _loan(scene, ref)
    amount = f"{(before.loan_amount * Decimal('0.9')).quantize(Decimal('0.01'))}"
    with scene.portal.own_write(ref, capture=False):
        scene.portal.save(file, "sLAmtCalc", amount, "loan_amount")
    receipt = scene.copy.served(ref, scene.mlm.file(ref)["stamp_text"])
    expect(receipt.outcome == "dispatched", f"its webhook is chased (it was {receipt.outcome}, {receipt.reason})")
    scene.equal(ref)
    after = _loan(scene, ref)
    expect(after.ltv != before.ltv, "another LTV than before")
    expect(after.ltv == Decimal(scene.mlm.file(ref)["fields"]["sLtvR"]), "the LTV that MLM computed")
    return (
        f"loan amount {before.loan_amount:,} → {after.loan_amount:,}; LTV {before.ltv:.3f} → {after.ltv:.3f} came back"
    )


def slices_apart(scene: Scene) -> Story:
    """MLM fails the call for the whole file, so each slice reads by itself; a second edit while those of the first are
    at work, whose webhook comes after a slice has seen it."""
    ref = scene.loans[4]
    with scene.mlm.turned(latency_ms=400, fault_next=1, fault_forms=["fault"]):
        first = scene.mlm.touch(ref, "loan_fields")

        def half_way() -> bool:
            served = {each.concern: each.served >= scene.copy.status(ref).ordered for each in _concerns(scene, ref)}
            return served["conditions"] and not served["assets"]

        scene.copy.receipts(ref, first)
        until(f"{ref}: conditions have landed, assets have not", half_way)
        with scene.mlm.turned(webhook_held=True):
            second = scene.mlm.touch(ref, "conditions")
            until(f"{ref}: a slice has read the second edit's stamp", lambda: _seen_beyond(scene, ref, "conditions"))
    told = [scene.copy.served(ref, stamp) for stamp in (first, second)]
    _is(told[1], "dispatched", "newer")
    scene.equal(ref)
    seconds = (told[1].received_at - told[0].received_at).total_seconds()
    return f"webhooks {seconds:.1f} s apart, the second's stamp already read by another slice: dispatched, both landed"


def lead_to_loan(scene: Scene) -> Story:
    """A lead follows its file, and becomes a loan with everything that hangs on it."""
    ref = scene.leads[0]
    _is(scene.copy.served(ref, scene.mlm.touch(ref, "borrowers")), "dispatched", "newer")
    scene.equal(ref)
    lead = scene.copy.rows("SELECT id FROM leads WHERE mlm_reference_number = %(ref)s", ref=ref)[0]
    people = _ids(scene, "lead_id", lead.id)
    scene.mlm.convert(ref)
    until(f"{ref}: it is a loan here too", lambda: scene.copy.status(ref).kind == "loan")
    scene.equal(ref)
    loan, kept = _loan(scene, ref), _ids(scene, "loan_id", _loan(scene, ref).id)
    became = scene.copy.rows("SELECT became_loan_id FROM leads WHERE id = %(id)s", id=lead.id)[0].became_loan_id
    expect(became == loan.id, "the lead's row says which loan it became")
    expect(people and kept == people, "its rows moved along and kept their ids")
    expect(not _ids(scene, "lead_id", lead.id), "nothing is left below the lead")
    scene.page.hears("fresh", ref)
    answer = scene.portal.freshness("leads", ref)
    expect((answer["kind"], answer["state"]) == ("loan", "fresh"), "the lead's route answers with the loan")
    return f"lead {ref} is a loan, {len(kept)} rows moved along and kept their ids, the lead's route answers"


def redis_flushed(scene: Scene) -> Story:
    """Redis loses everything while slices wait and run; everything is current again."""
    refs = scene.loans[6:14]
    with scene.mlm.turned(latency_ms=150):
        stamps = {ref: scene.mlm.touch(ref, ALL[number % len(ALL)]) for number, ref in enumerate(refs)}
        for ref, stamp in stamps.items():
            scene.copy.receipts(ref, stamp)
        until("slices are at work", lambda: _at_work(scene))
        keys = scene.laptop.house.redis.dbsize()
        scene.laptop.house.redis.flushall()
        flushed = time.monotonic()
    for ref, stamp in stamps.items():
        expect(scene.copy.served(ref, stamp).data_updated_at, f"{ref}: rows changed")
        scene.equal(ref)
    return f"{keys} keys were lost in mid-work; all {len(refs)} files current {time.monotonic() - flushed:.1f} s later"


class Deletion:
    """A file is deleted in MLM: `begin` early, `finish` late, for MLM is asked twice, a minute apart."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._ref = scene.loans[5]
        self._began = scene.copy.now()
        self._stamp = ""

    def begin(self) -> Story:
        """The webhook orders, MLM does not find it, and nothing is purged yet."""
        self._began = self._scene.copy.now()
        self._stamp = self._scene.mlm.delete(self._ref)
        _is(self._scene.copy.receipts(self._ref, self._stamp)[0], "dispatched", "deleted_event")
        until(f"{self._ref}: MLM has said not found once", self._not_found)
        expect(self._children(), "nothing is purged on a webhook's word")
        return f"MLM says not found; {self._children()} rows stay until it says so again in a minute"

    def finish(self) -> Story:
        """MLM has said so again; the children are gone, the row and its receipts are not."""
        copy = self._scene.copy
        status = until(
            f"{self._ref}: purged", lambda: s if (s := copy.status(self._ref)).state == "deleted" else None, 80
        )
        found = copy.differences(self._scene.mlm.file(self._ref))
        expect(not found, f"the row says so and nothing hangs on it ({found and found[0]})")
        expect(copy.receipts(self._ref, self._stamp)[0].served_at, "its receipt is there, and served")
        said = [run for run in copy.runs(self._ref, self._began) if run.concern == "loan_fields"]
        apart_s = (said[-1].started_at - said[0].started_at).total_seconds()
        expect(apart_s >= 60, f"MLM was asked twice, a minute apart (it was {apart_s:.1f} s)")
        expect(status.epoch > 1, "a new epoch")
        self._scene.page.hears("purged", self._ref)
        return f"MLM said not found again {apart_s:.0f} s after the first time: purged, the row and its receipts stay"

    def _not_found(self) -> list[Row[Any]]:
        runs = self._scene.copy.runs(self._ref, self._began)
        return [run for run in runs if run.concern == "loan_fields" and run.outcome.startswith("not found")]

    def _children(self) -> int:
        return len(_ids(self._scene, "loan_id", _loan(self._scene, self._ref).id))


def everything(scene: Scene) -> Story:
    """Every file: our copy equals MLM's, in every concern."""
    files = [scene.mlm.file(head["ref"]) for head in scene.mlm.files()]
    for file in files:
        if not file["deleted"]:
            scene.equal(file["ref"])
        elif found := scene.copy.differences(file):
            raise StepFailed(f"{file['ref']} was deleted in MLM: {found[0]}")
    outcomes = scene.copy.rows(
        "SELECT outcome || ' ' || count(*) AS told FROM mlm_webhook_receipts GROUP BY outcome ORDER BY outcome"
    )
    told = ", ".join(row.told for row in outcomes)
    return f"{len(files)} files equal in all nine concerns; receipts: {told}; a page heard {scene.page.counted()}"


def _is(receipt: Row[Any], outcome: str, reason: str | None = None) -> None:
    told = f"it says {receipt.outcome}, {receipt.reason}"
    expect(receipt.outcome == outcome, f"{receipt.reference_number}: a receipt {outcome} ({told})")
    expect(reason in (None, receipt.reason), f"{receipt.reference_number}: the receipt's reason {reason} ({told})")


def _loan(scene: Scene, ref: str) -> Row[Any]:
    return scene.copy.rows("SELECT * FROM loans WHERE mlm_reference_number = %(ref)s", ref=ref)[0]


def _ids(scene: Scene, parent: str, parent_id: int) -> set[tuple[str, int]]:
    """Every row below a loan or lead, by table and id."""
    each = [f"SELECT '{table}' AS t, id FROM {table} WHERE {parent} = %(id)s" for table in TABLE_OF.values()]  # noqa: S608
    rows: Any = scene.copy.rows(" UNION ALL ".join(each), id=parent_id)
    return {(row.t, row.id) for row in rows}


def _concerns(scene: Scene, ref: str) -> Any:
    return scene.copy.status(ref).concerns


def _seen_beyond(scene: Scene, ref: str, concern: str) -> bool:
    """A slice has seen a newer stamp than this concern holds."""
    status = scene.copy.status(ref)
    held = next(each.held for each in status.concerns if each.concern == concern)
    return bool(status.mark and held and status.mark > held)


def _at_work(scene: Scene) -> int:
    return int(scene.copy.rows("SELECT count(*) AS n FROM file_concerns WHERE lease_token IS NOT NULL")[0].n)
