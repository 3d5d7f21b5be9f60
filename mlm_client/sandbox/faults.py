"""The ways in which MLM does not answer: each form of error as a reply, and what a broken connection looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from mlm_client.sandbox.knobs import Knobs
from mlm_client.sandbox.wsdl import NAMESPACE

ENVELOPE = {"1.1": "http://schemas.xmlsoap.org/soap/envelope/", "1.2": "http://www.w3.org/2003/05/soap-envelope"}
CONTENT_TYPE = {"1.1": "text/xml; charset=utf-8", "1.2": "application/soap+xml; charset=utf-8"}
PROLOG = '<?xml version="1.0" encoding="utf-8"?>'

#: Forms that break the connection instead of answering.
BROKEN = frozenset({"hang", "reset", "half"})

_PAGE = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1><p>{1}</p></body></html>"


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: a whole answer, or how it breaks (`hang`, `reset`, `half`)."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A SOAP request as it came in: its version, operation and parameters."""

    soap: str = "1.1"
    operation: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def result(asked: Asked, text: str, knobs: Knobs) -> Reply:
    """An answer whose result string is `text`: an XML document, or plain words."""
    if text.startswith("<") and knobs.result_prolog != "none":
        text = f'<?xml version="1.0" encoding="{knobs.result_prolog}"?>{text}'
    for _ in range(knobs.result_escapes):
        text = escape(text)
    name = asked.operation
    return Reply(
        200,
        CONTENT_TYPE[asked.soap],
        (
            f'{PROLOG}<soap:Envelope xmlns:soap="{ENVELOPE[asked.soap]}"><soap:Body>'
            f'<{name}Response xmlns="{NAMESPACE}"><{name}Result>{text}</{name}Result></{name}Response>'
            "</soap:Body></soap:Envelope>"
        ).encode(),
    )


def error_text(message: str) -> str:
    """The result document of an error that MLM tells in its own words."""
    return f'<result status="Error"><error>{escape(message)}</error></result>'


def soap_fault(soap: str, message: str, client: bool = False) -> Reply:
    """HTTP 500 with a fault of this SOAP version, as ASMX writes it."""
    text = escape(message)
    if soap == "1.1":
        fault = f"<faultcode>soap:{'Client' if client else 'Server'}</faultcode><faultstring>{text}</faultstring>"
        fault += "<detail/>"
    else:
        code = "soap:Sender" if client else "soap:Receiver"
        fault = (
            f"<soap:Code><soap:Value>{code}</soap:Value></soap:Code>"
            f'<soap:Reason><soap:Text xml:lang="en">{text}</soap:Text></soap:Reason>'
        )
    body = (
        f'{PROLOG}<soap:Envelope xmlns:soap="{ENVELOPE[soap]}"><soap:Body><soap:Fault>{fault}</soap:Fault>'
        "</soap:Body></soap:Envelope>"
    )
    return Reply(500, CONTENT_TYPE[soap], body.encode())


def struck(form: str, asked: Asked, message: str, knobs: Knobs) -> Reply:
    """The reply of an error form; for the broken ones, a reply that breaks."""
    if form in BROKEN:
        return Reply(200, CONTENT_TYPE[asked.soap], b"", broken=form)
    if form in ("fault", "fault11", "fault12"):
        soap = {"fault11": "1.1", "fault12": "1.2"}.get(form, asked.soap)
        return soap_fault(soap, f"Server was unable to process request. ---> {message}")
    texts = {
        "text": message,
        "result_error": error_text(message),
        "error_element": f"<Error>{escape(message)}</Error>",
        "empty": "",
        "not_found": error_text("Loan not found"),
    }
    if form in texts:
        return result(asked, texts[form], knobs)
    wait = ((b"retry-after", str(knobs.retry_after_s).encode()),) if knobs.retry_after_s else ()
    html = "text/html; charset=utf-8"
    pages = {
        "html502": Reply(502, html, _PAGE.format("502 Bad Gateway", "upstream").encode()),
        "html503": Reply(503, html, _PAGE.format("Down for maintenance", "We will be back.").encode(), wait),
        "html200": Reply(200, html, _PAGE.format("Please sign in", "Your session has ended.").encode()),
        "429": Reply(429, "text/plain", b"Too many requests", wait),
        "401": Reply(401, "text/plain", b"Unauthorized"),
        "not_xml": Reply(200, CONTENT_TYPE[asked.soap], b"<soap:Envelope><soap:Body"),
    }
    return pages[form]
