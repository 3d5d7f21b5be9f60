"""The sandbox's webhook, at a real receiver: what is sent, when, and how each knob disturbs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sandbox_caller import Caller, Receiver, receiver

from mlm_client.sandbox import SandboxServer, create, touch

REF = "R000001"


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(files=6, seed=3) as mlm:
        yield mlm


@pytest.fixture
def heard() -> Iterator[Receiver]:
    with receiver() as hears:
        yield hears


@pytest.fixture
def mlm(server: SandboxServer, heard: Receiver) -> Iterator[SandboxServer]:
    """The shared sandbox, sending to this test's receiver; files and knobs as at the start."""
    backup = server.store.back_up()
    server.deliveries.target(heard.url, "secret")
    yield server
    server.dials.reset()
    assert server.deliveries.wait_until_idle()
    server.deliveries.target(None, None)
    server.store.roll_back(backup)


def refs(body: Any) -> list[str]:
    return [entry["referenceNumber"] for entry in body]


def save(mlm: SandboxServer, ref: str = REF) -> None:
    mlm.store.save(ref, lambda content: None)


def held_then_sent(mlm: SandboxServer, *files: str, **knobs: Any) -> None:
    """Save these files while webhooks are held, so that they are sent together under these knobs."""
    mlm.dials.patch(webhook_held=True)
    for ref in files:
        save(mlm, ref)
    mlm.dials.patch(webhook_held=False, **knobs)


def test_a_save_is_told_in_the_form_of_the_contract_with_the_bearer(mlm: SandboxServer, heard: Receiver) -> None:
    save(mlm)
    caller = Caller(mlm)
    assert heard.wait(1) == [
        [
            {
                "eventType": "Modified",
                "loanNumber": mlm.store.newest(REF).content.number,
                "referenceNumber": REF,
                "values": {"sLastModifiedTimestamp": caller.load(REF).field("sLastModifiedTimestamp")},
            }
        ]
    ]
    assert heard.headers[0]["authorization"] == "Bearer secret"


def test_creation_saving_through_soap_and_deletion_are_each_told(mlm: SandboxServer, heard: Receiver) -> None:
    version = create(mlm.store, mlm.maker, lead=True)
    assert heard.wait(1)[0][0]["loanNumber"].startswith("LEAD")
    Caller(mlm).save(version.content.number, '<field id="sSpAddr">1 Elm</field>')
    heard.wait(2)
    mlm.store.delete(version.content.ref)
    events = [(body[0]["eventType"], body[0]["referenceNumber"]) for body in heard.wait(3)]
    assert events == [(event, version.content.ref) for event in ("Created", "Modified", "Deleted")]


def test_the_files_that_were_there_from_the_start_and_a_rollback_are_not_told(
    mlm: SandboxServer, heard: Receiver
) -> None:
    backup = mlm.store.back_up()
    save(mlm)
    heard.wait(1)
    mlm.store.roll_back(backup)
    assert mlm.deliveries.wait_until_idle()
    assert len(heard.bodies) == 1


def test_a_late_recomputation_is_told_by_itself(mlm: SandboxServer, heard: Receiver) -> None:
    mlm.dials.patch(recompute_lag_ms=30)
    mlm.store.save(REF, lambda content: content.fields.update(sLAmtCalc="123400.00"))
    first, second = (body[0]["values"]["sLastModifiedTimestamp"] for body in heard.wait(2))
    assert first < second


KEYS = {"eventType", "loanNumber", "referenceNumber", "values"}


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"webhook_root": "object", "webhook_root_key": "loans"}, {"loans": [KEYS]}),
        ({"webhook_root": "single"}, KEYS),
        ({"webhook_keys": {"event": "Event", "number": "", "values": "V"}}, [{"Event", "referenceNumber", "V"}]),
    ],
)
def test_the_body_takes_the_root_and_the_keys_of_the_knobs(
    mlm: SandboxServer, heard: Receiver, knobs: dict[str, Any], expected: Any
) -> None:
    mlm.dials.patch(**knobs)
    save(mlm)

    def keys(body: Any) -> Any:
        if isinstance(body, list):
            return [keys(each) for each in body]
        return {name: keys(value) for name, value in body.items()} if "loans" in body else set(body)

    assert keys(heard.wait(1)[0]) == expected


def test_other_event_names_more_values_and_another_bearer_are_sent(mlm: SandboxServer, heard: Receiver) -> None:
    mlm.dials.patch(
        webhook_events={"Modified": "loan.changed"}, webhook_value_fields=["sStatusT"], webhook_bearer="wrong"
    )
    save(mlm)
    entry = heard.wait(1)[0][0]
    assert entry["eventType"] == "loan.changed"
    assert entry["values"]["sStatusT"] == mlm.store.newest(REF).content.fields["sStatusT"]
    assert heard.headers[0]["authorization"] == "Bearer wrong"
    mlm.dials.patch(webhook_bearer="none")
    save(mlm)
    heard.wait(2)
    assert "authorization" not in heard.headers[1]


def test_webhook_and_read_can_disagree_on_zone_and_form(mlm: SandboxServer, heard: Receiver) -> None:
    mlm.dials.patch(stamp_form="epoch_ms", webhook_shift_s=-28800)
    save(mlm)
    told = int(heard.wait(1)[0][0]["values"]["sLastModifiedTimestamp"])
    read = int(Caller(mlm).load(REF).field("sLastModifiedTimestamp") or 0)
    assert told == read - 28_800_000
    mlm.dials.patch(webhook_stamp_form="garbled")
    save(mlm)
    assert heard.wait(2)[1][0]["values"]["sLastModifiedTimestamp"] == "yesterday"


def test_what_waited_is_batched_in_order_up_to_the_batch_size(mlm: SandboxServer, heard: Receiver) -> None:
    files = ["R000001", "R000002", "R000001", "R000003", "R000004"]
    held_then_sent(mlm, *files, webhook_batch_size=2, webhook_parallel=1)
    assert [refs(body) for body in heard.wait(3)] == [files[:2], files[2:4], files[4:]]


def test_a_window_gathers_what_comes_within_it(mlm: SandboxServer, heard: Receiver) -> None:
    mlm.dials.patch(webhook_window_ms=300)
    save(mlm, "R000001")
    save(mlm, "R000002")
    assert refs(heard.wait(1)[0]) == ["R000001", "R000002"]


def test_a_delay_holds_each_entry_for_its_time(mlm: SandboxServer, heard: Receiver) -> None:
    mlm.dials.patch(webhook_delay_ms=300)
    save(mlm)
    assert mlm.deliveries.counters()["waiting"] == 1
    assert heard.wait(1)


def test_entries_and_batches_are_doubled(mlm: SandboxServer, heard: Receiver) -> None:
    mlm.dials.patch(webhook_duplicate_within_share=1, webhook_duplicate_across_share=1)
    save(mlm)
    assert [refs(body) for body in heard.wait(2)] == [[REF, REF]] * 2
    assert mlm.deliveries.wait_until_idle()
    assert [each.cause for each in mlm.deliveries.log()][-2:] in (["change", "duplicate"], ["duplicate", "change"])


def test_entries_of_a_batch_are_shuffled(mlm: SandboxServer, heard: Receiver) -> None:
    files = [f"R00000{number}" for number in range(1, 7)] * 3
    held_then_sent(mlm, *files, webhook_shuffle_share=1)
    came = refs(heard.wait(1)[0])
    assert came != files
    assert sorted(came) == sorted(files)


def test_a_batch_that_is_held_back_is_overtaken(mlm: SandboxServer, heard: Receiver) -> None:
    mlm.dials.patch(webhook_reorder_share=1, webhook_reorder_ms=400)
    save(mlm, "R000001")
    while not mlm.deliveries.counters()["under_way"]:
        pass
    mlm.dials.patch(webhook_reorder_share=0)
    save(mlm, "R000002")
    assert [refs(body) for body in heard.wait(2)] == [["R000002"], ["R000001"]]


def test_a_lost_entry_is_never_sent(mlm: SandboxServer, heard: Receiver) -> None:
    mlm.dials.patch(webhook_loss_next=1)
    save(mlm, "R000001")
    save(mlm, "R000002")
    assert refs(heard.wait(1)[0]) == ["R000002"]
    assert mlm.deliveries.wait_until_idle()
    assert len(heard.bodies) == 1


@pytest.mark.parametrize(("retry", "tries"), [("none", 1), ("fixed", 3), ("exponential", 3)])
def test_an_answer_that_is_no_2xx_is_retried_as_the_knob_says(
    mlm: SandboxServer, heard: Receiver, retry: str, tries: int
) -> None:
    heard.status = 503
    mlm.dials.patch(webhook_retry=retry, webhook_retry_ms=5, webhook_retry_limit=2)
    save(mlm)
    assert mlm.deliveries.wait_until_idle()
    assert len(heard.bodies) == tries
    log = mlm.deliveries.log()[-tries:]
    assert [each.status for each in log] == [503] * tries
    assert [each.cause for each in log] == ["change", *["retry"] * (tries - 1)]


def test_a_receiver_that_is_not_there_is_logged_and_loses_nothing_of_the_next(
    mlm: SandboxServer, heard: Receiver
) -> None:
    mlm.deliveries.target("http://127.0.0.1:9/hook", "secret")
    save(mlm)
    assert mlm.deliveries.wait_until_idle()
    assert (mlm.deliveries.log()[-1].status, mlm.deliveries.log()[-1].error) == (None, "ConnectError")
    mlm.deliveries.target(heard.url, "secret")
    save(mlm)
    assert refs(heard.wait(1)[0]) == [REF]


def test_a_delivery_can_be_sent_again(mlm: SandboxServer, heard: Receiver) -> None:
    save(mlm)
    first = heard.wait(1)[0]
    assert mlm.deliveries.wait_until_idle()
    batch = mlm.deliveries.log()[-1].batch
    assert mlm.deliveries.resend([batch]) == 1
    assert heard.wait(2)[1] == first
    assert Caller(mlm).api("POST", "/api/deliveries/resend", {"last": 1}, 202) == {"resent": 1}
    assert heard.wait(3)[2] == first


def test_deliveries_leave_from_the_address_of_the_knob(mlm: SandboxServer, heard: Receiver) -> None:
    mlm.dials.patch(webhook_source_address="127.0.0.2")
    save(mlm)
    heard.wait(1)
    assert heard.addresses == ["127.0.0.2"]


def test_every_entry_of_a_busy_hour_arrives_once_and_in_the_order_of_saves(mlm: SandboxServer, heard: Receiver) -> None:
    mlm.dials.patch(webhook_parallel=1)
    files = [mlm.maker.random.choice(mlm.store.refs()) for _ in range(300)]
    for ref in files:
        touch(mlm.store, mlm.maker, ref, "conditions")
    assert mlm.deliveries.wait_until_idle()
    assert [ref for body in heard.bodies for ref in refs(body)] == files
