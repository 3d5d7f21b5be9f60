"""The knobs: everything about MLM that the public record leaves open, in one frozen dataclass.

Three kinds stand together by name. `X_next` strikes the next N times and counts down; `X_share` strikes by chance
(0 to 1); both are asked through `Dials.strikes("X")`, and all chance comes from one seeded generator, so that
a run can be replayed. Defaults are the contract's forms and no fault at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

#: What a SOAP call may get in place of its answer; `fault` speaks the SOAP version of the request.
FAULT_FORMS = (
    "text", "result_error", "error_element", "empty", "not_found", "fault", "fault11", "fault12",
    "html502", "html503", "html200", "429", "401", "not_xml", "hang", "reset", "half",
)  # fmt: skip


class KnobError(ValueError):
    """A knob that does not exist, or a value it cannot take; the text names both."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"knob {name!r}: {why}")


def _knob(default: Any, doc: str, choices: tuple[str, ...] = ()) -> Any:
    metadata = {"doc": doc, "choices": choices}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """One setting of every knob; `describe()` gives each with its doc, choices and default."""

    # The webhook: form
    webhook_keys: Mapping[str, str] = _knob(
        {"event": "eventType", "number": "loanNumber", "reference": "referenceNumber", "values": "values"},
        "names of an entry's keys; an empty name leaves the key out",
    )
    webhook_events: Mapping[str, str] = _knob(
        {"Created": "Created", "Modified": "Modified", "Deleted": "Deleted"}, "names of the events"
    )
    webhook_root: str = _knob("list", "form of a body's root", ("list", "object", "single"))
    webhook_root_key: str = _knob("entries", "key of the list when the root is an object")
    webhook_value_fields: tuple[str, ...] = _knob((), "loan fields sent in `values` beside the stamp")
    webhook_bearer: str = _knob("", "bearer sent in place of the configured token; `none` sends no header")
    webhook_source_address: str = _knob("", "local address that deliveries leave from, such as 127.0.0.2")
    # The webhook: manners
    webhook_held: bool = _knob(False, "changes wait, nothing is delivered until this is false again")
    webhook_batch_size: int = _knob(100, "most entries in one body")
    webhook_window_ms: float = _knob(0.0, "how long the first change of a batch waits for company")
    webhook_delay_ms: float = _knob(0.0, "how long after its change an entry is sent")
    webhook_parallel: int = _knob(4, "deliveries under way at once")
    webhook_timeout_s: float = _knob(10.0, "how long a delivery waits for its answer")
    webhook_duplicate_within_share: float = _knob(0.0, "share of entries that stand twice in their batch")
    webhook_duplicate_across_share: float = _knob(0.0, "share of batches that are delivered twice")
    webhook_shuffle_share: float = _knob(0.0, "share of batches whose entries are shuffled")
    webhook_reorder_share: float = _knob(0.0, "share of batches held back so that later ones overtake")
    webhook_reorder_ms: float = _knob(200.0, "how long such a batch is held back")
    webhook_loss_share: float = _knob(0.0, "share of entries that are never sent")
    webhook_loss_next: int = _knob(0, "the next N entries are never sent")
    webhook_retry: str = _knob("none", "after an answer that is no 2xx", ("none", "fixed", "exponential"))
    webhook_retry_ms: float = _knob(1000.0, "first wait before a retry")
    webhook_retry_limit: int = _knob(5, "most retries of one delivery")
    # The stamp
    stamp_form: str = _knob(
        "iso",
        "text form of sLastModifiedTimestamp",
        ("iso", "us", "us_ampm", "epoch_s", "epoch_ms", "blank", "garbled"),
    )
    stamp_fraction_digits: int = _knob(3, "digits after the second, 0 to 7")
    stamp_zone_shown: bool = _knob(False, "ISO text carries its offset")
    stamp_zone: str = _knob("America/Los_Angeles", "zone of stamps and of the poll list")
    stamp_resolution_s: float = _knob(0.001, "saves within it share a stamp; 0.00333… is SQL Server's datetime")
    clock_offset_s: float = _knob(0.0, "added to MLM's clock; lowering it makes stamps go back")
    webhook_stamp_form: str = _knob(
        "same",
        "text form in webhooks, where it differs from reads",
        ("same", "iso", "us", "us_ampm", "epoch_s", "epoch_ms", "blank", "garbled"),
    )
    webhook_shift_s: float = _knob(0.0, "added to the stamp in webhooks only: a zone that the two paths disagree on")
    # SOAP
    reference_parameter: str = _knob("sLRefNm", "name of LoadByRefNumber's reference parameter")
    result_escapes: int = _knob(1, "how often the result is escaped, 1 or 2")
    result_prolog: str = _knob("none", "XML declaration; utf-16 lies", ("none", "utf-8", "utf-16"))
    unknown_ids: str = _knob("ignore", "a query or save that names an unknown id", ("ignore", "error"))
    names: Mapping[str, str] = _knob({}, "other names on the wire, ours to theirs, for fields and collections")
    save_status: str = _knob("OK", "status of a good Save; Error saves nothing", ("OK", "Ok", "OKWithWarning", "Error"))
    omit_ids: tuple[str, ...] = _knob((), "ids left out though asked for; `applicant` leaves out all of them")
    omit_next: int = _knob(0, "the next N answers leave out omit_ids")
    omit_share: float = _knob(0.0, "share of answers that leave out omit_ids")
    # Faults
    fault_forms: tuple[str, ...] = _knob(("html503",), "a struck call draws one of these", FAULT_FORMS)
    fault_next: int = _knob(0, "the next N calls are struck")
    fault_share: float = _knob(0.0, "share of calls that are struck")
    fault_operation: str = _knob("", "only this operation is struck; blank strikes all")
    fault_effect: bool = _knob(False, "a struck Save takes effect all the same")
    fault_text: str = _knob("System error. Please try again later.", "message in faults that carry one")
    retry_after_s: int = _knob(0, "Retry-After on 429 and 503; 0 sends none")
    outage: str = _knob(
        "",
        "every address of MLM, sign-in included, answers this way; blank for none",
        ("", "html502", "html503", "429", "hang", "reset"),
    )
    latency_ms: float = _knob(0.0, "time a call takes; MLM reads or saves in the middle of it")
    # Signing in
    token_life_s: float = _knob(14400.0, "life of a token, and its expires_in")
    sign_in_refuse_next: int = _knob(0, "the next N sign-ins get 401 invalid_client")
    sign_in_refuse_share: float = _knob(0.0, "share of sign-ins that get 401; 1 refuses all")
    ticket_refuse_next: int = _knob(0, "the next N calls find their good ticket refused")
    ticket_refuse_share: float = _knob(0.0, "share of calls that find their good ticket refused")
    ticket_form: str = _knob(
        "result_error",
        "how an unknown or expired ticket is answered",
        ("text", "result_error", "error_element", "fault", "fault11", "fault12", "401"),
    )
    ticket_text: str = _knob("Invalid or expired authentication ticket.", "message of that answer")
    # Lags
    recompute_lag_ms: float = _knob(0.0, "dependents (LTV, DTI, payment) come in a second save this much later")
    credit_lag_ms: float = _knob(500.0, "credit that a Save ordered comes in a save this much later")
    replica_next: int = _knob(0, "the next N reads are answered one version behind")
    replica_share: float = _knob(0.0, "share of reads that are answered one version behind")
    # Values
    money_form: str = _knob("dollars", "$1,234.50 with (…) for negative, or 1234.50", ("dollars", "plain"))
    rate_form: str = _knob("percent", "3.875% or 3.875", ("percent", "plain"))
    date_form: str = _knob("padded", "01/02/2026, 1/2/2026 or 2026-01-02", ("padded", "short", "iso"))
    bool_form: str = _knob("True", "True and False, or Yes and No", ("True", "Yes"))
    ssn_form: str = _knob("dashes", "991-91-9991, 991919991 or ***-**-9991", ("dashes", "digits", "masked"))
    blank_form: str = _knob("empty", "<field></field>, <field/> or no element", ("empty", "self_closed", "omitted"))
    text_suffix_raw: str = _knob("", "markup put behind every Desc and CondDesc as it stands, such as &#x1F;")

    @classmethod
    def describe(cls) -> dict[str, dict[str, Any]]:
        """Each knob's doc, choices and default, by name."""
        told: dict[str, dict[str, Any]] = {}
        for knob in fields(cls):
            default = knob.default_factory() if knob.default_factory is not MISSING else knob.default
            told[knob.name] = {**knob.metadata, "default": default}
        return told

    def patched(self, changes: Mapping[str, Any]) -> Knobs:
        """These knobs with `changes`, as they come from JSON. Raises KnobError."""
        told = self.describe()
        new = {}
        for name, value in changes.items():
            if name not in told:
                raise KnobError(name, "no such knob")
            new[name] = _checked(name, value, told[name]["default"], told[name]["choices"])
        return replace(self, **new)

    def as_json(self) -> dict[str, Any]:
        """The knobs as a JSON object."""
        return asdict(self)


def _checked(name: str, value: Any, default: Any, choices: tuple[str, ...]) -> Any:
    """`value` in the type of the knob's default, or a KnobError."""
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise KnobError(name, "true or false")
    elif isinstance(default, int | float):
        value = _number(name, value, default)
    elif isinstance(default, str):
        if not isinstance(value, str) or (choices and value not in choices):
            raise KnobError(name, f"one of {', '.join(choices)}" if choices else "text")
    elif isinstance(default, tuple):
        if isinstance(value, str) or not all(isinstance(item, str) for item in value):
            raise KnobError(name, "a list of texts")
        if choices and not set(value) <= set(choices):
            raise KnobError(name, f"some of {', '.join(choices)}")
        value = tuple(value)
    else:
        if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
            raise KnobError(name, "an object of texts")
        value = {**default, **value}
    if name == "stamp_zone":
        try:
            ZoneInfo(value)
        except (KeyError, ValueError):
            raise KnobError(name, "a zone such as UTC or America/Los_Angeles") from None
    return value


def _number(name: str, value: Any, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int if isinstance(default, int) else int | float):
        raise KnobError(name, "a whole number" if isinstance(default, int) else "a number")
    if name in ("clock_offset_s", "webhook_shift_s"):
        return value
    limits = {"stamp_fraction_digits": (0, 7), "result_escapes": (1, 2), "stamp_resolution_s": (1e-7, 86400)}
    if name in ("webhook_batch_size", "webhook_parallel"):
        limits[name] = (1, 1_000_000)
    low, high = limits.get(name, (0, 1 if name.endswith("_share") else 10**9))
    if not low <= value <= high:
        raise KnobError(name, f"between {low} and {high}")
    return value


class Dials:
    """The knobs as they stand now, and the one source of chance. Safe from any thread."""

    def __init__(self, knobs: Knobs | None = None, seed: int = 0) -> None:
        self.now = knobs or Knobs()
        self._first = self.now
        self.random = Random(seed)  # noqa: S311  chance that must be replayable
        self.listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def patch(self, **changes: Any) -> Knobs:
        """Turn some knobs; the others stay. Raises KnobError, and then turns none."""
        with self._lock:
            self.now = knobs = self.now.patched(changes)
        return self._told(knobs)

    @contextmanager
    def turned(self, **changes: Any) -> Iterator[None]:
        """Some knobs turned for as long as the block runs, then these as before. Raises KnobError, as `patch`."""
        before = self.now
        self.patch(**changes)
        try:
            yield
        finally:
            self.patch(**{name: getattr(before, name) for name in changes})

    def reset(self) -> Knobs:
        """Every knob as it was at the start."""
        with self._lock:
            self.now = self._first
        return self._told(self._first)

    def _told(self, knobs: Knobs) -> Knobs:
        for hear in self.listeners:
            hear()
        return knobs

    def strikes(self, what: str) -> bool:
        """Whether `what` happens this time: one of `what`_next is spent, or the share is drawn."""
        left, share = getattr(self.now, f"{what}_next", 0), getattr(self.now, f"{what}_share")
        if not left and not share:
            return False
        with self._lock:
            left = getattr(self.now, f"{what}_next", 0)
            if left:
                changes: dict[str, Any] = {f"{what}_next": left - 1}
                self.now = replace(self.now, **changes)
                return True
            return self.random.random() < float(share)
