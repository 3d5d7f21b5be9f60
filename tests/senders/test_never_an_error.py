"""Whatever stands in a payload lands or is refused as what it is: never an error, and nobody else's loss."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from deliveries import SAMPLES, row, rows, sample, send
from hypothesis import example, given
from hypothesis import strategies as st
from running_receiver import Receiver
from test_maxwell import CREATED, MILESTONE
from test_order import BEGAN, RECEPTION, on_postgresql

BODIES = [(path.parent.name, json.loads(path.read_bytes())) for path in sorted(SAMPLES.rglob("*.json"))]
BODIES += [("maxwell", CREATED), ("maxwell", MILESTONE)]

TEXTS = [
    "", " ", "\x00", "a\x00b", "\ud800", "x" * 3000, "-", "1e5", "9" * 40, "$1,2.50", "true", "{", "\\",
    "\N{HOUSE BUILDING}" * 255, "\N{HOUSE BUILDING}" * 256, "2026-13-45", "0001-01-01", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00", "2026-01-01T00:00:00",
]  # fmt: skip
ODD = st.one_of(
    st.sampled_from([None, True, False, {}, [], [None], {"a": [{"b": "\x00"}]}]),
    st.sampled_from(TEXTS),
    st.sampled_from([0, -1, 10**18, 2**63, 10**30, -(10**30), 1.5, 1e300, -0.0]),
    st.text(max_size=20),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(each, (*path, key))
    return found


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


@pytest.mark.parametrize("chosen", range(len(BODIES)))
@on_postgresql
@given(data=st.data())
def test_a_sample_with_anything_in_place_of_a_value_is_taken(engine: sa.Engine, chosen: int, data: st.DataObject):
    sender, sound = BODIES[chosen]
    body = json.loads(json.dumps(sound))
    for path in data.draw(st.lists(st.sampled_from(places(sound)), max_size=4, unique=True)):
        try:
            put(body, path, json.loads(json.dumps(data.draw(ODD))))
        except (KeyError, TypeError, IndexError):
            continue  # it stood in what was replaced before
    opened = RECEPTION.opened(sender, json.dumps(body).encode(), BEGAN)
    with engine.begin() as conn:
        landings = RECEPTION.receive(conn, [opened]).landings
    assert len(landings) == len(opened.entries) >= 1


@given(body=st.recursive(ODD, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10))
@example(body={"event": {"id": 1, "showing": []}})
@example(body={"event": "ordering::note_added", "data": {"transfers": [None, {"order_id": []}]}})
def test_any_json_is_decoded_by_every_sender_or_refused(body: Any):
    from receiver.errors import BodyFault

    for sender in ("mmi", "maxwell", "collateralxp", "showmojo"):
        try:
            RECEPTION.opened(sender, json.dumps(body).encode(), BEGAN)
        except BodyFault:
            assert not isinstance(body, dict)


def test_one_that_cannot_be_used_costs_no_other_anything(served: Receiver, engine: sa.Engine):
    batch = [json.loads(sample("mmi/02-lender.json")), 1, {"type": "Lender"}, {"type": "Weather"}, {}]

    assert send(served, "mmi", batch).json() == {
        "received": 5, "applied": 1, "waiting": 0, "skipped": 2, "rejected": 2,
    }  # fmt: skip
    told = [(each["outcome"], each["reason"]) for each in rows(engine, "mlm_webhook_receipts")]
    assert told[1:3] == [("malformed", "not an object"), ("malformed", "a lender without its id")]
    assert [outcome for outcome, _ in told[3:]] == ["unsupported_event"] * 2


def test_what_a_column_cannot_hold_and_what_no_column_is_for_is_kept_aside(served: Receiver, engine: sa.Engine):
    send(
        served, "mmi", json.loads(sample("mmi/02-lender.json")) | {"va_fourteen": "n/a", "beneficiaries": [{"x": 1.5}]}
    )

    lender = row(engine, "mmi_lenders")
    assert (lender["va_volume"], lender["other"]) == (None, {"va_fourteen": "n/a", "beneficiaries": [{"x": "1.5"}]})


def test_a_body_that_is_no_object_is_422_and_one_that_is_not_utf8_is_400(served: Receiver, engine: sa.Engine):
    assert send(served, "mmi", b'"text"').status_code == 422
    assert send(served, "mmi", b"[" * 100 + b"]" * 100).status_code == 422
    for body, position in ((b'{"a":"\xff"}', 6), ('{"é":"'.encode() + b'\xc3"}', 7), (b"\xef\xbb\xbf\xff{}", 3)):
        answer = send(served, "mmi", body)
        assert (answer.status_code, answer.json()["position"]) == (400, position), body
    assert send(served, "mmi", b"").status_code == 400
    assert all(each["keys"] is not None for each in rows(engine, "refused_deliveries"))


def test_long_numbers_and_half_a_surrogate_pair_are_taken(served: Receiver, engine: sa.Engine):
    said = b'"type":"Lender","nmls":1,"timestamp":"2026-01-01 00:00:00","name":"\\ud83d"'

    assert send(served, "mmi", b'{%s,"va_fourteen":%s}' % (said, b"9" * 4000)).json()["applied"] == 1

    lender = row(engine, "mmi_lenders")
    assert (lender["va_volume"], lender["name"]) == (None, "\ufffd")
    assert lender["other"] == {"va_fourteen": "9" * 4000}
    assert send(served, "mmi", b'{%s,"va_fourteen":%s}' % (said, b"9" * 5000)).status_code == 422
