"""Webhooks that never come, and own writes that ask for none."""

from __future__ import annotations

import time
from contextlib import ExitStack

from mlm_client.sandbox.calls import Call
from mlm_client.sandbox.editing import CONCERNS, touch

from .house import Standing, until
from .scene import BEFORE_S, Fault, Line, Scene, reckon, set_up
from .watching import instant, is_at_rest, now

#: The period of the rounds, the ticks of 2 s in which the schedule acts, and the read itself.
PERIOD_S, TICK_S, READ_S = 15.0, 2.0, 1.0
LOST = 9

WRITES, WRITE_EVERY_S = 20, 0.25
#: MLM tells of a save so much later. An echo that is here before its own write has ended is read like any change.
ECHO_AFTER_S = 1.0

_HELD = """
SELECT f.ref, min(c.held) AS held FROM file_freshness f JOIN file_concerns c ON c.file_id = f.id
WHERE f.ref = ANY(%(refs)s) GROUP BY f.ref
"""
_HEALED = "SELECT coalesce(sum(healed), 0) FROM backstop_runs WHERE backstop = 'rounds'"
_CAPTURED = """
SELECT count(*) FROM own_writes w JOIN file_freshness f ON f.id = w.file_id
WHERE f.ref = %(ref)s AND w.id > %(since)s AND w.captured_at IS NOT NULL AND w.last_error IS NULL
"""
_NEWEST_WRITE = "SELECT coalesce(max(id), 0) FROM own_writes"


def lost(house: Standing, fault: Fault) -> Line:
    """An edit in each concern, in files that nothing else touches, is never told: the rounds find it."""
    with ExitStack() as stack:
        stack.callback(house.run)
        house.run(MLM_CONFIRM_EVERY=f"{PERIOD_S:g}")
        files = house.refs[:LOST]
        scene = set_up(house, stack, spared=files)
        scene.sender.loses = lambda ref: ref in files
        scene.load.start()
        time.sleep(BEFORE_S)
        healed = house.number(_HEALED)
        seconds = _healed_after(house, dict(zip(files, CONCERNS, strict=True)))
        counted = house.number(_HEALED) - healed
        scene.must(counted >= LOST, f"{counted} were counted as healed")
        scene.note(f"{LOST} edits never told, {counted} healings counted")
        reckon(scene)
    limit_s = PERIOD_S + TICK_S + READ_S
    return scene.line(
        fault, f"{seconds:.1f} s", f"{PERIOD_S:g} s, a tick of {TICK_S:g} s and the read", seconds <= limit_s, seconds
    )


def sitting(house: Standing, fault: Fault) -> Line:
    """Twenty own writes with capture to one file: what MLM is asked for; and for twenty without capture."""
    with ExitStack() as stack:
        stack.callback(house.run)
        house.run(MLM_CONFIRM_SHARE="0", MLM_AUDIT_SHARE="0")
        scene = set_up(house, stack)
        ref = house.refs[1]
        captures, stamps, reads = _sit(scene, ref)
        scene.must(captures == WRITES, f"{captures} writes were captured")
        house.mlm.calls.clear()
        for _ in range(WRITES):
            scene.must(scene.portal.write(ref, capture=False), "a write was refused")
            _wait_for_quiet(scene)
        without = len(_reads(house, ref))
        reckon(scene)
    whole = 1 if house.house.rules.shared_reads else len(CONCERNS)
    asked = f"{captures} captures, {stamps - captures} confirmation, {reads} reads"
    figure = f"{asked}; without capture {without} reads"
    limit = f"{WRITES}, 1, {whole}; {WRITES * whole}"
    return scene.line(fault, figure, limit, (captures, stamps, reads) == (WRITES, WRITES + 1, whole))


def sitting_with_outsiders(house: Standing, fault: Fault) -> Line:
    """The same while outsiders save the file too, between our save and our exit: theirs are all here in the end."""
    with ExitStack() as stack:
        scene = set_up(house, stack)
        ref = house.refs[2]
        captures, stamps, reads = _sit(scene, ref, outsiders=True)
        theirs = len(CONCERNS)
        reckon(scene)
    figure = f"{theirs} edits of theirs, none missed"
    scene.note(f"{captures} captures, {stamps - captures} confirmations, {reads} reads")
    return scene.line(fault, figure if not scene.fell_short else "missed", "none missed", True)


def _healed_after(house: Standing, edits: dict[str, str]) -> float:
    """Edit each file in its concern; how many seconds until all concerns of all hold their edits' stamps."""
    began = now()
    saved = {ref: touch(house.mlm.store, house.mlm.maker, ref, concern).version for ref, concern in edits.items()}

    def are_here() -> bool:
        held = {row.ref: row.held for row in house.rows(_HELD, refs=list(edits))}
        return all(held[ref] >= instant(version) for ref, version in saved.items())

    return until(are_here, "the edits are here", 10 * PERIOD_S) - began


def _sit(scene: Scene, ref: str, outsiders: bool = False) -> tuple[int, int, int]:
    """Twenty own writes with capture, then quiet: captures made, stamps read, and reads of more than the stamp."""
    house, scene.sender.delay_s = scene.house, ECHO_AFTER_S
    newest = house.number(_NEWEST_WRITE)
    house.mlm.calls.clear()
    for number in range(WRITES):
        beside = CONCERNS[number // 2 : number // 2 + 1] if outsiders and number % 2 else ()
        scene.must(scene.portal.write(ref, beside=beside), "a write was refused")
        time.sleep(WRITE_EVERY_S)
    _wait_for_quiet(scene)
    reads = len(_reads(house, ref))
    captures = house.number(_CAPTURED, ref=ref, since=newest)
    return captures, len(house.mlm.calls.newest(ref=ref)) - reads, reads


def _wait_for_quiet(scene: Scene) -> None:
    scene.sender.wait_until_idle()
    until(lambda: is_at_rest(scene.house), "every file is fresh")


def _reads(house: Standing, ref: str) -> list[Call]:
    """The calls for this file that asked for more than its stamp."""
    return [call for call in house.mlm.calls.newest(ref=ref) if len(call.ids) > 1]


FAULTS = (
    Fault("webhook-lost", f"edits whose webhook never comes, `MLM_CONFIRM_EVERY={PERIOD_S:g}`", lost),
    Fault("sitting", "nothing; 20 own writes with capture to one file", sitting),
    Fault("sitting-outsiders", "nothing; 20 own writes, outsiders saving in between", sitting_with_outsiders),
)
