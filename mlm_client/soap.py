"""SOAP: zeep builds what we send, from our own WSDL; what comes back is read here, by the one hardened parser.

zeep's own reading is left out (`raw_response`): it knows only the SOAP version it sent, and its errors hold the whole
answer (measured).
"""

from __future__ import annotations

import re
from importlib import resources
from io import BytesIO
from typing import Any

import zeep
from lxml import etree
from zeep.settings import Settings as ZeepSettings

from . import hardened, wording
from .errors import Outage, UnreadableAnswer
from .exchange import Reply
from .transport import MlmTransport

NAMESPACE = "http://www.lendersoffice.com/los/webservices/"
REFERENCE_PARAMETER = "sLRefNm"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)


def wsdl(reference_parameter: str = REFERENCE_PARAMETER) -> bytes:
    """The WSDL that ships with us, the reference parameter of `LoadByRefNumber` under the name given."""
    if not _NAME.fullmatch(reference_parameter):
        raise ValueError("the name of the reference parameter is no XML name")
    text = resources.files(__package__).joinpath("loan.wsdl").read_text("utf-8")
    return text.replace(f'name="{REFERENCE_PARAMETER}"', f'name="{reference_parameter}"').encode()


def service(transport: MlmTransport, address: str, reference_parameter: str) -> Any:
    """zeep's proxy of `Loan.asmx`, SOAP 1.1. Takes some 10 ms to build and may be shared by threads (measured)."""
    settings = ZeepSettings(
        strict=True,
        raw_response=True,
        xml_huge_tree=False,
        forbid_dtd=True,
        forbid_entities=True,
        forbid_external=True,
    )
    document = BytesIO(wsdl(reference_parameter))
    client: Any = zeep.Client(document, transport=transport, settings=settings)  # type: ignore[no-untyped-call]
    return client.create_service(f"{{{NAMESPACE}}}LoanSoap", address)


def result_of(reply: Reply, operation: str) -> str | None:
    """The result string in a SOAP answer, 1.1 or 1.2; None where its element is empty or absent. A fault is raised."""
    envelope = hardened.parse(reply.content)
    body = _child(envelope, "body") if hardened.local_name(envelope) == "envelope" else None
    fault = _child(body, "fault")
    if fault is not None:
        _raise_fault(fault, reply.status_code)
    if reply.status_code != 200:
        raise Outage("MLM failed at the call", reply.status_code)
    response = _child(body, f"{operation}Response".lower())
    if response is None:
        raise UnreadableAnswer("the answer is no SOAP envelope of this operation", reply.status_code)
    result = _child(response, f"{operation}Result".lower())
    return None if result is None else result.text


def _child(element: etree._Element | None, name: str) -> etree._Element | None:
    children = () if element is None else element
    return next((child for child in children if hardened.local_name(child) == name), None)


def _raise_fault(fault: etree._Element, status: int) -> None:
    """SOAP 1.1 has `faultcode` and `faultstring`, 1.2 `Code/Value` and `Reason/Text`; the outermost code counts."""
    words, code = "", ""
    for element in fault.iter():
        name = hardened.local_name(element)
        if name in ("faultstring", "text"):
            words = words or (element.text or "")
        elif name in ("faultcode", "value"):
            code = code or (element.text or "").strip().rpartition(":")[2]
    raise wording.fault_error(words, code, status)
