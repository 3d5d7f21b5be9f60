"""The poll list: which files changed since a vendor last cleared them, by name.

Kept as MLM keeps it (MLM's wire, §1.5): clearing is by number and not by version, so a change between a load and its
clear is lost to whoever clears too late.
"""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from mlm_client.sandbox.fields import show
from mlm_client.sandbox.files import Change, Store
from mlm_client.sandbox.stamps import poll_text


class Modified:
    """A listener of the store; each app code has its own idea of what is cleared."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sequence = 0
        self._changed: dict[str, int] = {}
        self._renamed: dict[str, tuple[int, str]] = {}
        self._cleared: dict[str, dict[str, int]] = {}
        store.listeners.append(self._hear)

    def _hear(self, change: Change) -> None:
        content = change.version.content
        self._sequence += 1
        self._changed.pop(content.ref, None)
        self._changed[content.ref] = self._sequence
        if change.old_number != content.number:
            self._renamed[content.ref] = (self._sequence, change.old_number)

    def clear(self, app_code: str, number: str) -> None:
        """Take the file off the list of this app code, whatever has changed by now. Raises UnknownFile."""
        with self._store.lock:
            ref = self._store.ref_of(number)
            self._cleared.setdefault(app_code, {})[ref] = self._sequence

    def listed(self, app_code: str) -> str:
        """The list document: one `loan` a file, oldest change first; a deleted one is not valid."""
        with self._store.lock:
            cleared = self._cleared.get(app_code, {})
            loans = [
                self._loan(ref, cleared.get(ref, 0))
                for ref, changed in self._changed.items()
                if changed > cleared.get(ref, 0) and self._store.holds(ref)
            ]
        return f"<list>{''.join(loans)}</list>"

    def _loan(self, ref: str, cleared: int) -> str:
        version, knobs = self._store.newest(ref), self._store.dials.now
        fields = version.content.fields
        person = version.content.applicants[0].fields if version.content.applicants else {}
        renamed, old_number = self._renamed.get(ref, (0, ""))
        told = {
            "name": version.content.number,
            "old_name": old_number if renamed > cleared else "",
            "valid": str(not version.deleted),
            "aBNm": f"{person.get('aBFirstNm', '')} {person.get('aBLastNm', '')}".strip(),
            "aBSsn": show("ssn", person.get("aBSsn", ""), knobs),
            "sSpAddr": fields["sSpAddr"],
            "LastModifiedD": poll_text(version.stamp, knobs),
            "sStatusT": fields["sStatusT"],
        }
        return f"<loan {' '.join(f'{name}={quoteattr(value)}' for name, value in told.items())}/>"
