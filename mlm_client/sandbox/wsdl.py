"""The WSDL of the sandbox's Loan.asmx, as an ASMX service would describe itself: document/literal, SOAP 1.1 and 1.2."""

from __future__ import annotations

NAMESPACE = "http://www.lendersoffice.com/los/webservices/"

_HEAD = f"""<?xml version="1.0" encoding="utf-8"?>
<wsdl:definitions xmlns:s="http://www.w3.org/2001/XMLSchema" xmlns:tns="{NAMESPACE}"
 xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/"
 xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" targetNamespace="{NAMESPACE}">
<wsdl:types><s:schema elementFormDefault="qualified" targetNamespace="{NAMESPACE}">"""


def operations(reference_parameter: str) -> dict[str, tuple[str, ...]]:
    """The operations that the sandbox has, with the names of their parameters in order."""
    return {
        "LoadByRefNumber": ("sTicket", reference_parameter, "sXmlQuery", "format"),
        "Load": ("sTicket", "sLNm", "sXmlQuery", "format"),
        "Save": ("sTicket", "sLNm", "sDataContent", "format"),
        "ListModifiedLoansByAppCode": ("sTicket", "appCode"),
        "ClearModifiedLoanByNameByAppCode": ("sTicket", "sLNm", "appCode"),
    }


def wsdl(address: str, reference_parameter: str) -> str:
    """The WSDL with `address` as the service's place."""
    told = operations(reference_parameter)
    types: list[str] = []
    messages: list[str] = []
    ports: list[str] = []
    bindings: dict[str, list[str]] = {"soap": [], "soap12": []}
    for name, parameters in told.items():
        types.append(_element(name, parameters) + _element(f"{name}Response", (f"{name}Result",)))
        messages += [
            f'<wsdl:message name="{name}Soap{way}">'
            f'<wsdl:part name="parameters" element="tns:{element}"/></wsdl:message>'
            for way, element in (("In", name), ("Out", f"{name}Response"))
        ]
        ports.append(
            f'<wsdl:operation name="{name}"><wsdl:input message="tns:{name}SoapIn"/>'
            f'<wsdl:output message="tns:{name}SoapOut"/></wsdl:operation>'
        )
        for soap, lines in bindings.items():
            body = f'<{soap}:body use="literal"/>'
            lines.append(
                f'<wsdl:operation name="{name}"><{soap}:operation soapAction="{NAMESPACE}{name}" style="document"/>'
                f"<wsdl:input>{body}</wsdl:input><wsdl:output>{body}</wsdl:output></wsdl:operation>"
            )
    parts = [_HEAD, *types, "</s:schema></wsdl:types>", *messages]
    parts += ['<wsdl:portType name="LoanSoap">', *ports, "</wsdl:portType>"]
    for soap, suffix in (("soap", ""), ("soap12", "12")):
        parts.append(f'<wsdl:binding name="LoanSoap{suffix}" type="tns:LoanSoap">')
        parts.append(f'<{soap}:binding transport="http://schemas.xmlsoap.org/soap/http"/>')
        parts += [*bindings[soap], "</wsdl:binding>"]
    parts.append('<wsdl:service name="Loan">')
    parts += [
        f'<wsdl:port name="LoanSoap{suffix}" binding="tns:LoanSoap{suffix}">'
        f'<{soap}:address location="{address}"/></wsdl:port>'
        for soap, suffix in (("soap", ""), ("soap12", "12"))
    ]
    return "\n".join([*parts, "</wsdl:service></wsdl:definitions>"])


def _element(name: str, parts: tuple[str, ...]) -> str:
    inner = "".join(
        f'<s:element minOccurs="1" maxOccurs="1" name="{part}" type="s:int"/>'
        if part == "format"
        else f'<s:element minOccurs="0" maxOccurs="1" name="{part}" type="s:string"/>'
        for part in parts
    )
    return f'<s:element name="{name}"><s:complexType><s:sequence>{inner}</s:sequence></s:complexType></s:element>'
