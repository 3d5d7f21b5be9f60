"""MLM: one sign-in, and one read of a stamp if we know a file, within the budget of calls. Nothing is written."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from freshness import stamp
from freshness.errors import SettingError
from freshness.rules import Rules
from jobs.broker import connect
from jobs.circuit import circuit_state
from jobs.errors import TryAgain
from jobs.house import House
from mlm_client import errors

from .finding import Finding, fail, ok, warn

SIGN_IN, CALL = "MLM sign-in", "MLM call"

_A_FILE = """
SELECT ref, mlm_now() AS now FROM file_freshness
WHERE deleted_at IS NULL AND mark IS NOT NULL ORDER BY id DESC LIMIT 1
"""


def findings(house: House, rules: Rules, conn: Connection) -> list[Finding]:
    """Ask MLM. While its circuit is open it is left alone.

    Raises:
        RedisError, SQLAlchemyError: Redis, which paces the calls, or PostgreSQL is away.
    """
    try:
        config = house.mlm_config
    except SettingError:
        return [fail(SIGN_IN, "not tried: a setting is missing or wrong")]
    with connect(house.settings.redis_url or "", patient=False) as client:
        circuit = circuit_state(client)
    if circuit.state != "closed":
        return [warn(CALL, f"not tried: MLM is away since {circuit.since:%Y-%m-%d %H:%M:%SZ}; {circuit.why}", AWAY)]
    row = conn.exec_driver_sql(_A_FILE).one_or_none()
    try:
        if row is None:
            house.mlm(prompt=True).sign_in()
            return [ok(SIGN_IN, f"signed in at {config.token_url}"), ok(CALL, "none made: we know no file yet")]
        text = house.mlm(prompt=True).read_stamp(row.ref)
    except errors.SignInFailed as error:
        return [
            fail(SIGN_IN, str(error), "MLM_CLIENT_ID or MLM_CLIENT_SECRET is wrong; too many tries lock the account")
        ]
    except errors.MlmError as error:
        return [_failed(error)]
    except TryAgain as error:
        return [warn(CALL, f"not made: {error}")]
    return [ok(SIGN_IN, "signed in"), _stamp(rules, text, row)]


AWAY = "it is tried again by itself, one call at a time, and what waits is read then"


def _failed(error: errors.MlmError) -> Finding:
    line = f"{type(error).__name__}: {error}"
    if isinstance(error, errors.NotFound):
        return warn(CALL, line, "MLM answers, but has no such file: is this the database of that MLM?")
    if isinstance(error, errors.SignInAgain):
        return fail(SIGN_IN, line, "is MLM_TOKEN_URL the one that belongs to MLM_LOAN_SERVICE_URL?")
    if error.unasked:
        return fail(SIGN_IN, line, "is MLM_TOKEN_URL right, and may this machine reach it?")
    return fail(CALL, line, "is MLM_LOAN_SERVICE_URL right, and may this machine reach it?")


def _stamp(rules: Rules, text: str | None, row: Any) -> Finding:
    read = stamp.parse(text, rules.zone, row.now) if text else None
    if isinstance(read, stamp.Stamp):
        return ok(CALL, f"read the stamp of {row.ref}")
    why = read.why if read else "none came"
    return warn(
        CALL, f"the stamp of {row.ref} cannot be read: {why}", "every webhook then orders; see docs/mlm-wire.md"
    )
