"""A caller of the sandbox for its tests: raw envelopes over real HTTP, and a receiver that writes webhooks down."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.sax.saxutils import escape

import httpx
from lxml import etree

from mlm_client.sandbox import SandboxServer

NS = "http://www.lendersoffice.com/los/webservices/"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
STAMP = '<field id="sLastModifiedTimestamp"/>'


def query(loan: str = STAMP, applicant: str = "") -> str:
    inner = f"<applicant>{applicant}</applicant>" if applicant else ""
    return f'<LOXmlFormat version="1.0"><loan>{loan}{inner}</loan></LOXmlFormat>'


def asked(*ids: str) -> str:
    return "".join(f'<field id="{each}"/>' for each in ids)


@dataclass
class Answer:
    """An answer: the HTTP response, and the result string where there is one."""

    http: httpx.Response
    result: str | None

    @property
    def document(self) -> etree._Element:
        assert self.result is not None
        return etree.fromstring(self.result)

    def field(self, name: str) -> str | None:
        """The text of the first field of this id, None where it is not in the answer."""
        found = self.document.find(f".//field[@id='{name}']")
        return None if found is None else found.text or ""

    def records(self, collection: str) -> list[dict[str, str]]:
        return [
            {each.get("id"): each.text or "" for each in record}
            for record in self.document.iterfind(f".//collection[@id='{collection}']/record")
        ]


class Caller:
    """Speaks to one sandbox. Signs in once."""

    def __init__(self, mlm: SandboxServer) -> None:
        self.mlm = mlm
        self.http = httpx.Client(timeout=5, trust_env=False)
        self.ticket = f"Bearer {self.sign_in().json()['access_token']}"

    def sign_in(self, secret: str | None = None) -> httpx.Response:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.mlm.client_id,
            "client_secret": secret or self.mlm.client_secret,
        }
        return self.http.post(self.mlm.token_url, data=form)

    def call(self, operation: str, soap: str = "1.1", ticket: str | None = None, **parameters: str) -> Answer:
        given = {"sTicket": self.ticket if ticket is None else ticket, **parameters}
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in given.items())
        namespace = SOAP11 if soap == "1.1" else SOAP12
        body = (
            f'<s:Envelope xmlns:s="{namespace}"><s:Body><{operation} xmlns="{NS}">{inner}</{operation}>'
            "</s:Body></s:Envelope>"
        )
        headers = {"Content-Type": "application/soap+xml; charset=utf-8"}
        if soap == "1.1":
            headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{NS}{operation}"'}
        response = self.http.post(self.mlm.loan_service_url, content=body.encode(), headers=headers)
        result = None
        if response.status_code == 200 and "xml" in response.headers["content-type"]:
            found = etree.fromstring(response.content).find(f".//{{{NS}}}{operation}Result")
            result = None if found is None else found.text or ""
        return Answer(response, result)

    def load(self, ref: str, text: str | None = None, **how: str) -> Answer:
        return self.call("LoadByRefNumber", **how, sLRefNm=ref, sXmlQuery=text or query(), format="0")

    def save(self, number: str, content: str, **how: str) -> Answer:
        document = f'<LOXmlFormat version="1.0"><loan>{content}</loan></LOXmlFormat>'
        return self.call("Save", **how, sLNm=number, sDataContent=document, format="0")

    def api(self, method: str, path: str, order: Any = None, status: int = 200) -> Any:
        response = self.http.request(method, self.mlm.base_url + path, json=order)
        assert response.status_code == status, response.text
        return response.json()


class Receiver:
    """Takes webhooks and answers with `status`; what came is in `bodies` and `headers`, oldest first."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.addresses: list[str] = []
        self.url = ""
        self.came = threading.Condition()

    def wait(self, count: int) -> list[Any]:
        """The bodies once there are `count`."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.bodies) >= count, 5), f"only {len(self.bodies)} came"
            return list(self.bodies)


@contextmanager
def receiver() -> Iterator[Receiver]:
    heard = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = heard.status
            with heard.came:
                heard.bodies.append(body)
                heard.headers.append({name.lower(): value for name, value in self.headers.items()})
                heard.addresses.append(self.client_address[0])
                heard.came.notify_all()
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    heard.url = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield heard
    finally:
        server.shutdown()
        server.server_close()
