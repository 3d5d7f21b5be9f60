"""What an outsider does to a file in MLM: edits by hand, plausible touches, conversion, renumbering.

Each is one save: one stamp, one webhook. Values are taken in any form that MLM takes; what fits no form is kept as it
stands, because outsiders do that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlm_client.sandbox.fields import APPLICANT_FIELDS, COLLECTIONS, DATE, MONEY, canonical, loan_kind
from mlm_client.sandbox.files import Applicant, Content, Record, Store, UnknownFile, Version
from mlm_client.sandbox.making import Maker


class BadEdit(ValueError):
    """The edit names something that the file or MLM does not have; the text names it."""


@dataclass
class Done:
    """What an edit did: the version it made, and the records and values that it changed."""

    version: Version
    changes: list[dict[str, Any]]


def edit(store: Store, maker: Maker, ref: str, order: Mapping[str, Any]) -> Done:
    """Save the edit that `order` describes. Raises UnknownFile, BadEdit.

    `{"fields": {…}, "applicant": {"index": 0, "op": "change|add|remove", "fields": {…}},
    "collection": {"name": …, "applicant": 0, "op": "change|add|remove", "record": {"RecordId": …, …}}}`, each
    part left out, one object, or a list of them.
    """
    changes: list[dict[str, Any]] = []
    unknown = set(order) - {"fields", "applicant", "collection"}
    if unknown:
        raise BadEdit(f"no such part of an edit: {', '.join(sorted(unknown))}")

    def change(content: Content) -> None:
        changes.extend(_put(content.fields, _object(order, "fields"), loan_kind))
        for part in _parts(order, "applicant"):
            changes.extend(_edit_applicant(content, maker, part))
        for part in _parts(order, "collection"):
            changes.extend(_edit_record(content, maker, part))

    try:
        return Done(store.save(ref, change), changes)
    except BadEdit:
        raise
    except ValueError as taken:
        raise BadEdit(f"loan number {taken} is in use") from None


def create(
    store: Store,
    maker: Maker,
    lead: bool = False,
    fields: Mapping[str, Any] | None = None,
    seed: int | str | None = None,
) -> Version:
    """A new file, made up but for `fields`. Raises BadEdit."""
    with store.lock:
        content = maker.file(lead, seed)
        while store.holds(content.ref):
            content = maker.file(lead, seed)
        _put(content.fields, fields or {}, loan_kind)
        try:
            return store.add(content)
        except ValueError:
            raise BadEdit("reference or loan number is in use") from None


def convert(store: Store, ref: str, keep_reference: bool = True) -> Version:
    """Turn a lead into a loan: status Open, a loan's number, and the same reference or a new one.

    Without `keep_reference` the lead is deleted, and a loan of a new reference begins. Raises UnknownFile, BadEdit.
    """
    with store.lock:
        content = store.newest(ref).content
        if not content.is_lead:
            raise BadEdit(f"{ref} is no lead")
        number = content.number.removeprefix("LEAD")
        number = number if number != content.number else f"{number}L"

        def to_loan(content: Content) -> None:
            content.fields.update(sStatusT="0", sLNm=number, sOpenedD=content.fields["sStatusD"])

        if keep_reference:
            return store.save(ref, to_loan)
        store.delete(ref)
        loan = content.copy()
        to_loan(loan)
        loan.fields["sLRefNm"] = f"{ref}L"
        return store.add(loan)


def renumber(store: Store, maker: Maker, ref: str, number: str) -> Done:
    """Give the file another `sLNm`; the reference stays. Raises UnknownFile, BadEdit."""
    return edit(store, maker, ref, {"fields": {"sLNm": number}})


def grow(store: Store, maker: Maker, ref: str, records: Mapping[str, int]) -> Version:
    """Add made-up records until the file, or its first applicant, has so many in each of these collections.

    Raises UnknownFile.
    """

    def fill(content: Content) -> None:
        for name, count in records.items():
            applicant = content.applicants[0] if COLLECTIONS[name].of_applicant else None
            kept = (applicant or content).collections[name]
            while len(kept) < count:
                kept.append({**_new_record(name, maker, applicant), "RecordId": maker.record_id()})

    return store.save(ref, fill)


#: What a touch changes, and to what: (field, new value from the old).
_LOAN_TOUCHES = ("sSpAddr", "sNoteIR", "sEstCloseD", "sApprVal", "sLpTemplateNm")
_PERSON_TOUCHES = ("aBCellphone", "aBEmail", "aBAddr", "aBBaseI", "aBExperianScore")
_RECORD_TOUCHES = {
    "assets": ("aAssetCollection", "Val"),
    "liabilities": ("aLiaCollection", "Bal"),
    "employment": ("aBEmpCollection", "JobTitle"),
    "real_properties": ("aReCollection", "Val"),
    "incomes": ("aIncomeCollection", "MonI"),
    "conditions": ("sCondDataSet", "Status"),
    "fees": ("sClosingCostFeeCollection", "Amt"),
}

CONCERNS = ("loan_fields", "borrowers", *_RECORD_TOUCHES)


def touch(store: Store, maker: Maker, ref: str, concern: str, op: str = "change") -> Done:
    """One plausible edit in `concern`: a value moves, or with `op` a record comes or goes.

    Raises UnknownFile, BadEdit.
    """
    if concern not in CONCERNS:
        raise BadEdit(f"no concern {concern!r}; there are {', '.join(CONCERNS)}")
    with store.lock:
        newest = store.newest(ref)
        if newest.deleted:
            raise UnknownFile(ref)
        content, pick = newest.content, maker.random.choice
        if concern == "loan_fields":
            name = pick(_LOAN_TOUCHES)
            return edit(store, maker, ref, {"fields": {name: _other(loan_kind(name), content.fields[name], maker)}})
        if concern == "borrowers":
            if op != "change":
                return edit(store, maker, ref, {"applicant": {"op": op, "index": len(content.applicants) - 1}})
            name = pick(_PERSON_TOUCHES)
            value = _other(APPLICANT_FIELDS[name], content.applicants[0].fields[name], maker)
            return edit(store, maker, ref, {"applicant": {"index": 0, "fields": {name: value}}})
        collection, name = _RECORD_TOUCHES[concern]
        part: dict[str, Any] = {"name": collection, "op": op}
        if COLLECTIONS[collection].of_applicant:
            part["applicant"] = 0
        records = (content.applicants[0] if "applicant" in part else content).collections[collection]
        if op != "add":
            if not records:
                part["op"] = "add"
            else:
                record = pick(records)
                part["record"] = {"RecordId": record["RecordId"]}
                if op == "change":
                    part["record"][name] = _other(COLLECTIONS[collection].fields[name], record[name], maker)
        return edit(store, maker, ref, {"collection": part})


def _other(kind: str | None, old: str, maker: Maker) -> str:
    """A plausible value that is not `old`."""
    whole = maker.random.randint
    while True:
        if kind == MONEY:
            new = f"{whole(1_000, 900_000)}.00"
        elif kind == "rate":
            new = f"{whole(32, 64) / 8:.3f}"
        elif kind == DATE:
            new = f"2027-{whole(1, 12):02d}-{whole(1, 28):02d}"
        elif kind == "int":
            new = str(whole(600, 820))
        else:
            new = f"{'Cleared' if old == 'Open' else 'Updated'} {whole(1, 9999)}"
        if new != old:
            return new


def _object(order: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = order.get(key) or {}
    if not isinstance(part, Mapping):
        raise BadEdit(f"{key!r} is an object of names and values")
    return part


def _parts(order: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    parts = order.get(key) or []
    parts = parts if isinstance(parts, list) else [parts]
    if not all(isinstance(part, Mapping) for part in parts):
        raise BadEdit(f"{key!r} is an object, or a list of objects")
    return parts


def _put(fields: Record, new: Mapping[str, Any], kind_of: Callable[[str], str | None]) -> list[dict[str, Any]]:
    """Put `new` into `fields`; what changed, old and new. Raises BadEdit for a name that has no kind."""
    changes = []
    for name, given in new.items():
        kind = kind_of(name)
        if kind is None:
            raise BadEdit(f"no field {name!r}")
        text = "" if given is None else str(given)
        try:
            value = canonical(kind, text)
        except ValueError:
            value = text
        changes.append({"field": name, "old": fields.get(name, ""), "new": value})
        fields[name] = value
    return changes


def _edit_applicant(content: Content, maker: Maker, part: Mapping[str, Any]) -> list[dict[str, Any]]:
    op = part.get("op", "change")
    if op == "add":
        content.applicants.append(maker.applicant())
        index = len(content.applicants) - 1
    else:
        index = part.get("index", 0)
    applicant = _applicant(content, index)
    told: list[dict[str, Any]] = []
    if op == "remove":
        content.applicants.remove(applicant)
    elif op in ("add", "change"):
        told = _put(applicant.fields, _object(part, "fields"), APPLICANT_FIELDS.get)
    else:
        raise BadEdit(f"no op {op!r}; there are add, change, remove")
    return [{"applicant": index, "op": op, **each} for each in told or [{}]]


def _edit_record(content: Content, maker: Maker, part: Mapping[str, Any]) -> list[dict[str, Any]]:
    name, op, index = part.get("name", ""), part.get("op", "change"), part.get("applicant")
    told = COLLECTIONS.get(name)
    if told is None:
        raise BadEdit(f"no collection {name!r}; there are {', '.join(COLLECTIONS)}")
    applicant = _applicant(content, index or 0) if told.of_applicant else None
    records = (applicant or content).collections[name]
    given = dict(_object(part, "record"))
    if op == "add":
        record = {**_new_record(name, maker, applicant), "RecordId": given.pop("RecordId", None) or maker.record_id()}
        records.append(record)
    else:
        record = next((each for each in records if each["RecordId"] == given.get("RecordId")), {})
        if not record:
            raise BadEdit(f"no record {given.get('RecordId')!r} in {name}")
        del given["RecordId"]
    where = {"collection": name, "applicant": index if told.of_applicant else None, "record_id": record["RecordId"]}
    changes: list[dict[str, Any]] = []
    if op == "remove":
        records.remove(record)
        if applicant is not None:
            _unlink(applicant, record["RecordId"])
    elif op in ("add", "change"):
        changes = _put(record, given, told.fields.get)
    else:
        raise BadEdit(f"no op {op!r}; there are add, change, remove")
    return [{**where, "op": op, **each} for each in changes or [{}]]


def _new_record(name: str, maker: Maker, applicant: Applicant | None) -> Record:
    """A made-up record of this collection, without links to others."""
    makers: dict[str, Callable[[], Record]] = {
        "aAssetCollection": maker.asset,
        "aLiaCollection": maker.liability,
        "aBEmpCollection": maker.job,
        "aCEmpCollection": maker.job,
        "aReCollection": lambda: maker.real_property("0", applicant.collections["aLiaCollection"] if applicant else []),
        "aIncomeCollection": lambda: maker.income("0", None),
        "sCondDataSet": maker.condition,
        "sClosingCostFeeCollection": maker.fee,
    }
    return makers[name]()


def _unlink(applicant: Applicant, record_id: str) -> None:
    """Take a record that has gone out of what points to it, as MLM would."""
    for owned in applicant.collections["aReCollection"]:
        kept = [each for each in owned["LiaRecordIds"].split(",") if each != record_id]
        owned["LiaRecordIds"] = ",".join(kept)
    for income in applicant.collections["aIncomeCollection"]:
        if income["EmpRecordId"] == record_id:
            income["EmpRecordId"] = ""


def _applicant(content: Content, index: Any) -> Applicant:
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(content.applicants):
        raise BadEdit(f"no applicant {index!r}; there are {len(content.applicants)}")
    return content.applicants[index]
