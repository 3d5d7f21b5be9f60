"""What MLM's things are called at this lender: the tables of `names_tables`, with what `MLM_NAMES` says instead.

reference_parameter = "refNumber"          # of LoadByRefNumber

[loan_fields]                              # the name in our tables = the name at this lender
sLtvR = "sLTV"

[applicant_fields]
aBConsumerId = "aBLqbConsumerId"

[collections]
sClosingCostFeeCollection = "sClosingCostSet"

[record_fields.aAssetCollection]
RecordId = "Id"

[concerns]                                 # a concern this lender lacks; it counts nowhere
fees = false
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from freshness.concerns import ALL, Concern
from freshness.errors import SettingError

from . import names_tables as tables
from .names_tables import Collection, Field

#: Loan fields make the file, and all but loan fields, conditions and fees hang on borrowers.
ALWAYS_ACTIVE = (Concern.LOAN_FIELDS, Concern.BORROWERS)


@dataclass(frozen=True)
class Names:
    """Every name to ask by and to read by, and the concerns that are active, upstream before downstream."""

    reference_parameter: str
    stamp: str
    loan_fields: tuple[Field, ...]
    borrower: tuple[Field, ...]
    co_borrower: tuple[Field, ...]
    application: tuple[Field, ...]
    collections: tuple[Collection, ...]
    active: tuple[Concern, ...]

    def collections_of(self, concern: Concern) -> tuple[Collection, ...]:
        """The collections that a concern's rows come from."""
        return tuple(collection for collection in self.collections if collection.concern is concern)


def load_names(path: Path | None) -> Names:
    """The names in force: our tables', changed by the TOML file that `MLM_NAMES` names, if any.

    Raises:
        SettingError: the file cannot be read, or says something that means nothing; the message names the key.
    """
    said = _read(path) if path else {}
    sections = ("reference_parameter", "loan_fields", "applicant_fields", "collections", "record_fields", "concerns")
    _known("", said, sections)
    loan = _texts(said, "loan_fields")
    applicant = _texts(said, "applicant_fields")
    people = (tables.BORROWER_FIELDS, tables.CO_BORROWER_FIELDS, tables.APPLICATION_FIELDS)
    stamp = Field(tables.STAMP, "")
    _known("loan_fields", loan, (field.name for field in (stamp, *tables.LOAN_FIELDS)))
    _known("applicant_fields", applicant, (field.name for fields in people for field in fields))
    _distinct("loan_fields", (stamp, *tables.LOAN_FIELDS), loan)
    _distinct("applicant_fields", tuple(field for fields in people for field in fields), applicant)
    borrower, co_borrower, application = (_renamed(fields, applicant) for fields in people)
    return Names(
        reference_parameter=_text("reference_parameter", said.get("reference_parameter", tables.REFERENCE_PARAMETER)),
        stamp=loan.get(tables.STAMP, tables.STAMP),
        loan_fields=_renamed(tables.LOAN_FIELDS, loan),
        borrower=borrower,
        co_borrower=co_borrower,
        application=application,
        collections=_collections(said),
        active=_active(_section(said, "concerns")),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _wrong(f"{path} cannot be read ({type(error).__name__})") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(f"{path} is not TOML: {error}") from None


def _collections(said: Mapping[str, Any]) -> tuple[Collection, ...]:
    names, records = _texts(said, "collections"), _section(said, "record_fields")
    known = [collection.name for collection in tables.COLLECTIONS]
    _known("collections", names, known)
    _known("record_fields", records, known)
    _unlike("collections", [names.get(name, name) for name in known])
    found = []
    for collection in tables.COLLECTIONS:
        section = f"record_fields.{collection.name}"
        fields = _texts(records, collection.name, section)
        _known(section, fields, (field.name for field in collection.fields))
        _distinct(section, collection.fields, fields)
        name = names.get(collection.name, collection.name)
        found.append(replace(collection, name=name, fields=_renamed(collection.fields, fields)))
    return tuple(found)


def _active(switches: Mapping[str, Any]) -> tuple[Concern, ...]:
    _known("concerns", switches, (concern.value for concern in ALL))
    for concern, on in switches.items():
        if not isinstance(on, bool):
            raise _wrong(f"concerns.{concern} must be true or false")
        if not on and concern in ALWAYS_ACTIVE:
            raise _wrong(f"concerns.{concern} cannot be switched off: what else there is hangs on it")
    return tuple(concern for concern in ALL if switches.get(concern.value, True))


def _renamed(fields: tuple[Field, ...], names: Mapping[str, str]) -> tuple[Field, ...]:
    return tuple(replace(field, name=names.get(field.name, field.name)) for field in fields)


def _texts(said: Mapping[str, Any], key: str, shown: str = "") -> dict[str, str]:
    section = _section(said, key, shown)
    return {name: _text(f"{shown or key}.{name}", value) for name, value in section.items()}


def _section(said: Mapping[str, Any], key: str, shown: str = "") -> dict[str, Any]:
    section = said.get(key, {})
    if not isinstance(section, dict):
        raise _wrong(f"{shown or key} must be a table: [{shown or key}]")
    return section


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(f"{key} must be a name")
    return value.strip()


def _known(section: str, said: Iterable[str], known: Iterable[str]) -> None:
    allowed = tuple(known)
    for key in said:
        if key not in allowed:
            where = f"{section}.{key}" if section else key
            shown = (
                f"; there are {', '.join(allowed)}" if len(allowed) < 20 else "; names are those of docs/mlm-wire.md"
            )
            raise _wrong(f"{where} is nothing that can be named{shown}")


def _distinct(section: str, fields: tuple[Field, ...], names: Mapping[str, str]) -> None:
    _unlike(section, [names.get(field.name, field.name) for field in fields])


def _unlike(section: str, names: list[str]) -> None:
    """MLM's names match in any letter case, so two that differ in case alone are one."""
    seen = set()
    for name in names:
        if name.lower() in seen:
            raise _wrong(f"{section}: two things would be called {name}")
        seen.add(name.lower())


def _wrong(what: str) -> SettingError:
    return SettingError("MLM_NAMES", what)
