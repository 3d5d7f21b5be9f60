"""The list of files that changed since we last cleared them: MLM's only public way to catch up without a webhook."""

from __future__ import annotations

from dataclasses import dataclass

from .hardened import attributes
from .results import document

_LOANS = ("{*}loan", "{*}Loan", "{*}LOAN")


@dataclass(frozen=True, slots=True)
class ModifiedFile:
    """One file of the list. It is listed again on every poll until it is cleared by name (seen).

    `name` is the loan number, which may change: `old_name` is the number before a renumbering (meaning inferred).
    `valid` is false for a deleted file. `last_modified_text` is `MM/DD/YYYY HH:MM:SS` without a zone (seen): too coarse
    and too vague to be a stamp. MLM sends the borrower's name, SSN and address too; they stop here.
    """

    name: str
    old_name: str | None
    valid: bool
    last_modified_text: str | None


def read_modified(result: str | None) -> list[ModifiedFile]:
    """The files in the result of `ListModifiedLoansByAppCode`; an error in it is raised. An entry without a name is
    left out: nothing can be loaded or cleared by it."""
    files = []
    for element in document(result).iter(*_LOANS):
        entry = attributes(element)
        name = entry.get("name", "").strip()
        if name:
            files.append(
                ModifiedFile(
                    name,
                    entry.get("old_name", "").strip() or None,
                    entry.get("valid", "").strip().lower() not in ("false", "no", "0"),
                    entry.get("lastmodifiedd", "").strip() or None,
                )
            )
    return files
