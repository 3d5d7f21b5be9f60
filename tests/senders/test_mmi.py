from __future__ import annotations

import json

import httpx
from running_receiver import Receiver
from secrets_of_senders import path, proved


def send(served: Receiver, sender: str, body: object) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return served.post(path(sender), token=None, content=raw, headers=proved(sender, raw))


def test_x(served):
    r = send(
        served,
        "mmi",
        {
            "type": "Mortgage",
            "nmls": "12",
            "timestamp": "2025-09-23 14:07:42",
            "lo_ytd_volume": "55",
            "zz": 1,
            "email": None,
        },
    )
    print(r.text)
    r = send(
        served,
        "mmi",
        {
            "type": "Mortgage",
            "nmls": "12",
            "timestamp": "2025-09-23 14:07:42",
            "lo_ytd_volume": "55",
            "zz": 1,
            "email": None,
        },
    )
    print(r.text)
    r = send(
        served,
        "mmi",
        {
            "type": "Mortgage",
            "nmls": "12",
            "timestamp": "2025-09-23 14:07:41",
            "lo_ytd_volume": "55",
            "zz": 1,
            "email": None,
        },
    )
    print(r.text)
    print(served.rows("select * from mmi_loan_officers"))
    print(
        served.rows(
            "select sender,subject,subject_number,outcome,reason,last_modified_text,event_type,data_updated_at,body_id from mlm_webhook_receipts"
        )
    )
    print(served.rows("select * from sender_subjects"))
