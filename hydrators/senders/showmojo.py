"""ShowMojo: showings, and leads without one. A row is what its newest event says, all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from freshness.field_keys import FieldKeys
from freshness.ledger.arrays import arrays, unnested
from freshness.ledger.sendings import Applied, Landed

from .rails_zones import RAILS_ZONES
from .rows import Row, clear, sealed_aside, upsert
from .said import Read, at, count, flag, instant, label, read, text

EVENT: dict[str, tuple[str, Read]] = {
    "id": ("event_id", label),
    "action": ("action", text),
    "actor": ("actor", text),
    "team_member_name": ("team_member_name", text),
    "team_member_uid": ("team_member_uid", text),
    "created_at": ("event_at", instant),
}

PROSPECT: dict[str, tuple[str, Read]] = {
    "created_at": ("created_at", instant),
    "name": ("name", text),
    "phone": ("phone", text),
    "email": ("email", text),
    "notes": ("notes", text),
    "listing_uid": ("listing_uid", text),
    "listing_full_address": ("listing_full_address", text),
}

SHOWING: dict[str, tuple[str, Read]] = {
    **PROSPECT,
    "showtime": ("showtime", instant),
    "showing_time_zone": ("time_zone_said", text),
    "showing_time_zone_utc_offset": ("utc_offset", count),
    "is_self_show": ("is_self_show", flag),
    "confirmed_at": ("confirmed_at", instant),
    "canceled_at": ("canceled_at", instant),
    "self_show_code_distributed_at": ("self_show_code_distributed_at", instant),
}

TABLES = {"showing": ("showmojo_showings", "uid", SHOWING), "lead": ("showmojo_leads", "lead_key", PROSPECT)}


def uid_of(showing: Mapping[str, Any]) -> str | None:
    """The showing's own id, if it has one."""
    try:
        return label(showing.get("uid") or "")
    except ValueError:
        return None


def lead_keys(showing: Mapping[str, Any], keys: FieldKeys) -> tuple[str, ...]:
    """What a lead is known by: a keyed digest of its e-mail address, else of its phone's digits, else of its name. One
    under each key, newest first; none where no contact is named."""
    for name, told in (("email", str.lower), ("phone", _digits), ("name", str.lower)):
        said = showing.get(name)
        if isinstance(said, str) and (contact := told(said.strip())):
            return tuple(each.hex() for each in keys.indexes(f"{name} {contact}"))
    return ()


_NAMES = (("older", "text"), ("newest", "text"))
_LEAD = f"""
UPDATE showmojo_leads l SET lead_key = x.newest FROM (
    SELECT DISTINCT ON (n.newest) o.id, n.newest FROM {unnested(_NAMES)} AS n (older, newest)
    JOIN showmojo_leads o ON o.lead_key = n.older
    WHERE NOT EXISTS (SELECT FROM showmojo_leads WHERE lead_key = n.newest) ORDER BY n.newest, o.id DESC
) x WHERE l.id = x.id
"""  # noqa: S608 - column names of ours
_SHOWINGS = f"""
UPDATE showmojo_showings s SET lead_key = n.newest FROM {unnested(_NAMES)} AS n (older, newest)
WHERE s.lead_key = n.older
"""  # noqa: S608 - column names of ours


def _name_anew(conn: Connection, named: Iterable[tuple[str, ...]]) -> None:
    """Where a lead stands under an older key's digest, put the newest's; of several rows the latest is the lead's."""
    names = sorted({(older, newest) for newest, *olders in filter(None, named) for older in olders})
    if names:
        parameters = arrays(_NAMES, names)
        conn.exec_driver_sql(_LEAD, parameters)
        conn.exec_driver_sql(_SHOWINGS, parameters)


class ShowmojoHydrator:
    """Lands ShowMojo's events."""

    def land(self, conn: Connection, keys: FieldKeys, applied: Sequence[Applied]) -> Sequence[Landed]:
        """One row an event. A lead that an older key has named is named anew first."""
        _name_anew(conn, [lead_keys(at(each.sent.payload, "event", "showing") or {}, keys) for each in applied])
        rows: dict[str, list[Row]] = {}
        for each in applied:
            rows.setdefault(each.sent.kind, []).append(_row(each, keys))
        for kind, of_kind in sorted(rows.items()):
            table, named_by, _ = TABLES[kind]
            upsert(conn, table, (named_by,), of_kind)
        return [Landed(1)] * len(applied)

    def clear(self, conn: Connection, kind: str, subject: str) -> None:
        """Empty the subject's row."""
        table, named_by, _ = TABLES[kind]
        clear(conn, table, (named_by,), {named_by: subject})


def _row(applied: Applied, keys: FieldKeys) -> Row:
    said, (_, named_by, fields) = applied.sent.payload, TABLES[applied.sent.kind]
    showing = at(said, "event", "showing") or {}
    of_event, rest_of_event = read(at(said, "event"), EVENT)
    of_showing, rest_of_showing = read(showing, fields)
    rest_of_event.pop("showing", None)
    if applied.sent.kind == "showing":
        rest_of_showing.pop("uid", None)
        of_showing["lead_key"] = next(iter(lead_keys(showing, keys)), None)
        of_showing["time_zone"] = RAILS_ZONES.get(of_showing.get("time_zone_said") or "")
    row: Row = {column: None for column, _ in (*EVENT.values(), *fields.values())}
    row |= of_event | of_showing | {named_by: applied.sent.subject}
    rest = {"event": rest_of_event, "showing": rest_of_showing, "body": {k: v for k, v in said.items() if k != "event"}}
    return row | sealed_aside({name: each for name, each in rest.items() if each}, keys)


def _digits(said: str) -> str:
    return "".join(filter(str.isdecimal, said))
