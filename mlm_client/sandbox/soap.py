"""Loan.asmx: a SOAP request in, a reply out (SOAP 1.1 and 1.2; MLM's wire, §1.2 to §2.3).

`LoanService.answer` is the whole of it without HTTP: it takes a request's bytes and gives a `Reply`, so that a
simulation can ask without a socket. Application errors come inside the result with HTTP 200, as MLM sends them.
"""

from __future__ import annotations

from dataclasses import replace
from xml.sax.saxutils import escape

from lxml import etree

from mlm_client.sandbox import faults
from mlm_client.sandbox.calls import Call, CallLog
from mlm_client.sandbox.faults import ENVELOPE, Asked, Reply, error_text, result, soap_fault
from mlm_client.sandbox.files import Content, Store, UnknownFile, Version
from mlm_client.sandbox.knobs import Dials, Knobs
from mlm_client.sandbox.loxml import Refused, answer, compile_query, read_save, wire_names
from mlm_client.sandbox.making import Maker
from mlm_client.sandbox.modified import Modified
from mlm_client.sandbox.oauth import Tickets
from mlm_client.sandbox.stamps import stamp_text
from mlm_client.sandbox.wsdl import NAMESPACE, operations

_VERSIONS = {namespace: soap for soap, namespace in ENVELOPE.items()}
_NOT_FOUND = "Loan not found"


class BadRequest(ValueError):
    """The request is no SOAP that MLM takes; `fault` is the reply."""

    def __init__(self, fault: Reply) -> None:
        super().__init__(f"HTTP {fault.status}")
        self.fault = fault


class LoanService:
    """The operations over one store. Safe from any thread."""

    def __init__(self, store: Store, dials: Dials, tickets: Tickets, calls: CallLog, maker: Maker) -> None:
        self.store = store
        self.dials = dials
        self.tickets = tickets
        self.calls = calls
        self.maker = maker
        self.modified = Modified(store)

    def answer(self, body: bytes, soap_action: str | None, call: Call) -> Reply:
        """The reply to one request; `call` is filled in for the log."""
        try:
            asked = self._read(body, soap_action)
        except BadRequest as bad:
            call.outcome = "bad_request"
            return bad.fault
        call.operation, call.soap = asked.operation, asked.soap
        knobs = self.dials.now
        form = self._strike(asked, knobs)
        if form is None:
            return self._operate(asked, call, knobs)
        reply = faults.struck(form, asked, knobs.fault_text, knobs)
        if form == "half" or (knobs.fault_effect and asked.operation == "Save"):
            whole = self._operate(asked, call, knobs)
            reply = replace(whole, broken=form) if form == "half" else reply
        call.outcome = form
        return reply

    def _read(self, body: bytes, soap_action: str | None) -> Asked:
        """The operation and its parameters. Raises BadRequest."""
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        try:
            root = etree.fromstring(body, parser)
        except etree.XMLSyntaxError:
            raise BadRequest(Reply(400, "text/plain", b"Bad Request")) from None
        name = etree.QName(root)
        soap = _VERSIONS.get(name.namespace or "")
        if soap is None or name.localname != "Envelope" or root.getroottree().docinfo.doctype:
            raise BadRequest(soap_fault("1.1", "Possible SOAP version mismatch.", client=True))
        asked = root.find(f"{{{name.namespace}}}Body/{{{NAMESPACE}}}*")
        operation = etree.QName(asked).localname if asked is not None else ""
        told = soap == "1.2" or (soap_action or "").strip('"') == f"{NAMESPACE}{operation}"
        if asked is None or not told or operation not in operations(self.dials.now.reference_parameter):
            raise BadRequest(
                soap_fault(soap, "Server did not recognize the value of HTTP Header SOAPAction.", client=True)
            )
        return Asked(
            soap, operation, {etree.QName(each).localname: each.text or "" for each in asked.iterchildren("{*}*")}
        )

    def _strike(self, asked: Asked, knobs: Knobs) -> str | None:
        """The form of fault that this call is struck with, if any."""
        if knobs.fault_operation not in ("", asked.operation) or not knobs.fault_forms:
            return None
        return self.dials.random.choice(knobs.fault_forms) if self.dials.strikes("fault") else None

    def _operate(self, asked: Asked, call: Call, knobs: Knobs) -> Reply:
        try:
            if not self.tickets.holds(asked.parameters.get("sTicket", "")):
                call.outcome = "ticket"
                return faults.struck(knobs.ticket_form, asked, knobs.ticket_text, knobs)
            return result(asked, self._result(asked, call, knobs), knobs)
        except UnknownFile:
            call.outcome = "not_found"
            return result(asked, error_text(_NOT_FOUND), knobs)
        except Refused as refused:
            call.outcome = "refused"
            return result(asked, error_text(str(refused)), knobs)

    def _result(self, asked: Asked, call: Call, knobs: Knobs) -> str:
        given = asked.parameters
        if asked.operation == "LoadByRefNumber":
            if knobs.reference_parameter not in given:
                raise Refused("Reference number is required.")
            return self._load(given[knobs.reference_parameter], given, call, knobs)
        if asked.operation == "Load":
            call.ref = self.store.ref_of(given.get("sLNm", ""))
            return self._load(call.ref, given, call, knobs)
        if asked.operation == "Save":
            call.ref = self.store.ref_of(given.get("sLNm", ""))
            return self._save(call.ref, given, call, knobs)
        if asked.operation == "ListModifiedLoansByAppCode":
            return self.modified.listed(given.get("appCode", ""))
        self.modified.clear(given.get("appCode", ""), given.get("sLNm", ""))
        return ""

    def _load(self, ref: str, given: dict[str, str], call: Call, knobs: Knobs) -> str:
        call.ref = ref
        query = compile_query(given.get("sXmlQuery", ""), wire_names(knobs))
        call.ids = query.ids
        if query.unknown and knobs.unknown_ids == "error":
            raise Refused(f"Invalid field id: {query.unknown[0]}")
        version = self._version(ref, call)
        if version.deleted:
            raise UnknownFile(ref)
        call.stamp = stamp_text(version.stamp, knobs)
        left_out = knobs.omit_ids and self.dials.strikes("omit")
        return answer(version, query, knobs, frozenset(knobs.omit_ids) if left_out else frozenset())

    def _version(self, ref: str, call: Call) -> Version:
        newest = self.store.newest(ref)
        if not self.dials.strikes("replica"):
            return newest
        behind = self.store.behind(ref)
        call.behind = behind is not newest
        return behind

    def _save(self, ref: str, given: dict[str, str], call: Call, knobs: Knobs) -> str:
        if given.get("format", "0").strip() not in ("", "0"):
            raise Refused("Only format 0 is known here.")
        saving = read_save(given.get("sDataContent", ""), wire_names(knobs), self.maker.record_id)
        if saving.unknown and knobs.unknown_ids == "error":
            raise Refused(f"Invalid field id: {saving.unknown[0]}")
        if knobs.save_status == "Error":
            raise Refused("Loan is currently locked by another user.")
        try:
            version = self.store.save(ref, saving.apply)
        except ValueError as taken:
            if isinstance(taken, Refused):
                raise
            raise Refused("Loan number is already in use.") from None
        call.stamp = stamp_text(version.stamp, knobs)
        for ssn in saving.credit_for:
            self.store.later(knobs.credit_lag_ms / 1000, ref, self._credit(ssn))
        if saving.unknown:
            return f'<result status="OKWithWarning"><warning>Unknown id: {escape(saving.unknown[0])}</warning></result>'
        return f'<result status="{knobs.save_status}"/>'

    def _credit(self, ssn: str) -> Credit:
        return Credit(ssn, report=str(self.maker.random.randint(10**7, 10**8)), debt=self.maker.liability())


class Credit:
    """The late save of a credit report: its id, new scores and one tradeline for the applicant it was ordered for."""

    def __init__(self, ssn: str, report: str, debt: dict[str, str]) -> None:
        self._ssn, self._report, self._debt = ssn, report, debt

    def __call__(self, content: Content) -> None:
        """Put it into the content; an applicant who is gone by now gets none."""
        for applicant in content.applicants:
            if self._ssn in ("", applicant.fields["aBSsn"]):
                score = str(600 + int(self._report) % 220)
                applicant.fields.update(
                    aCreditReportId=self._report, aBEquifaxScore=score, aBExperianScore=score, aBTransUnionScore=score
                )
                applicant.collections["aLiaCollection"].append(dict(self._debt))
                return
