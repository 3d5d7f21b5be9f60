"""An MLM on a laptop: OAuth, SOAP, files that look real, the change webhook, and a knob for all that is unknown.

In a test or a benchmark, over real HTTP from a thread of this process:

    with SandboxServer(files=25, seed=7, webhook_url="http://127.0.0.1:8000/api/v1/loans/mlm/webhook",
                       webhook_token="…") as mlm:
        client = …(mlm.loan_service_url, mlm.token_url, mlm.client_id, mlm.client_secret)
        mlm.dials.patch(fault_forms=["html503"], fault_next=2)          # the next two calls fail
        done = touch(mlm.store, mlm.maker, "R000001", "assets")         # an outsider edits; the webhook goes out
        mlm.store.newest("R000001").content.applicants[0].collections   # what MLM has now
        mlm.calls.newest("LoadByRefNumber"), mlm.deliveries.wait_until_idle()

As a process of its own: `run(host, port, …)`, then everything above over JSON under `/api` (see `api.py`; the
knobs tell about themselves at `/api/knobs/help`). Without HTTP: `Sandbox(now_s=…)`, its `store`, and
`service.answer(…)`.

The other side of the wire is `mlm_client`; neither imports the other. What is seen, inferred or ours: docs/mlm-wire.md.
"""

from mlm_client.sandbox.editing import BadEdit, Done, convert, create, edit, renumber, touch
from mlm_client.sandbox.files import Applicant, Change, Content, Record, Store, UnknownFile, Version
from mlm_client.sandbox.knobs import FAULT_FORMS, Dials, KnobError, Knobs
from mlm_client.sandbox.server import Sandbox, SandboxServer, run

__all__ = [
    "FAULT_FORMS",
    "Applicant",
    "BadEdit",
    "Change",
    "Content",
    "Dials",
    "Done",
    "KnobError",
    "Knobs",
    "Record",
    "Sandbox",
    "SandboxServer",
    "Store",
    "UnknownFile",
    "Version",
    "convert",
    "create",
    "edit",
    "renumber",
    "run",
    "touch",
]
