"""The keys: whether those of FIELD_KEYS are the ones that have sealed what is there."""

from __future__ import annotations

from sqlalchemy import Connection

from freshness.field_keys import FieldKeys
from freshness.ledger import held_keys
from freshness.settings import Settings

from .finding import Finding, fail, ok, warn

ABOUT = "sealed values"


def findings(settings: Settings, conn: Connection) -> list[Finding]:
    """One for each key that is missing, else that all is well."""
    newest = held_keys.newest_keys(conn)
    if not newest:
        return [ok(ABOUT, "none yet that this role may see")]
    if not settings.field_keys:
        return [ok(ABOUT, f"not looked at without FIELD_KEYS (their keys: {', '.join(sorted(set(newest.values())))})")]
    missing = held_keys.not_held(newest, FieldKeys(settings.field_keys))
    return [_missing(key, tables, settings) for key, tables in missing.items()] or [
        ok(ABOUT, f"the newest of {len(newest)} table{'' if len(newest) == 1 else 's'} open with FIELD_KEYS")
    ]


def _missing(key: str, tables: list[str], settings: Settings) -> Finding:
    what = f"the newest of {', '.join(tables)} are sealed with key {key}, which FIELD_KEYS does not hold"
    if key in settings.field_keys_lost:
        return warn(ABOUT, f"{what} (FIELD_KEYS_LOST: it is lost)", "run: freshness import --all")
    return fail(ABOUT, what, "put that key into FIELD_KEYS; no worker starts without it (docs/security.md)")
