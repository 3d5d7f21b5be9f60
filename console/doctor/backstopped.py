"""What the backstops did within a day, and changes that everything else had missed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import Connection

from console.output import cell
from freshness.ledger import backstops
from freshness.ledger.backstops import Backstop, Missed, Report
from freshness.settings import Settings

from .finding import Finding, ok, warn

#: What was missed longer ago has been looked into, one hopes.
A_WEEK = dt.timedelta(days=7)

_NAMES = {Backstop.POLL: "poll list", Backstop.ROUNDS: "rounds", Backstop.AUDIT: "audit"}


def findings(settings: Settings, conn: Connection) -> list[Finding]:
    """Each backstop: what it looked at, healed and failed at. Then what only the audit found."""
    now = conn.exec_driver_sql("SELECT mlm_now()").scalar_one()
    off = _off(settings)
    told = [_told(report, off.get(report.backstop)) for report in backstops.report(conn, now - dt.timedelta(days=1))]
    missed = [each for each in backstops.last_missed(conn, 100) if now - each.found_at < A_WEEK]
    return [*told, _missed(missed)]


def _off(settings: Settings) -> dict[str, str]:
    """Those that are switched off, each with the setting that does it."""
    switches = {
        Backstop.POLL: ("MLM_APP_CODE", settings.mlm_app_code),
        Backstop.ROUNDS: ("MLM_CONFIRM_SHARE", settings.mlm_confirm_share),
        Backstop.AUDIT: ("MLM_AUDIT_SHARE", settings.mlm_audit_share),
    }
    if settings.mlm_app_code and not settings.mlm_poll_every:
        switches[Backstop.POLL] = ("MLM_POLL_EVERY", None)
    return {backstop: name for backstop, (name, value) in switches.items() if not value}


def _told(report: Report, off_by: str | None) -> Finding:
    about = _NAMES[Backstop(report.backstop)]
    if off_by is not None:
        return ok(about, f"off ({off_by})")
    told = f"within a day: {report.looked} looked at, {report.ordered} ordered, {report.healed} healed"
    if report.failed > report.looked:
        return warn(about, f"{told}, {report.failed} failed: {report.last_error}", "its log lines tell more")
    return ok(about, f"{told}, {report.failed} failed")


def _missed(missed: Sequence[Missed]) -> Finding:
    if not missed:
        return ok("missed changes", "none")
    newest, rows = missed[0], sum(each.rows for each in missed)
    told = f"{rows} row{'' if rows == 1 else 's'} within a week, last {newest.concern} of {newest.ref} at "
    todo = "this should not happen: see the table missed_changes, and freshness explain"
    return warn("missed changes", told + cell(newest.found_at), f"{todo} {newest.ref}")
