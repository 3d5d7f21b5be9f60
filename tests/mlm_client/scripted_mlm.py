"""MLM's side of the wire for these tests: a real HTTP server on loopback that says exactly what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

from mlm_client import MlmClient, MlmConfig

NS = "http://www.lendersoffice.com/los/webservices/"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
XML = "text/xml; charset=utf-8"


@dataclass
class Asked:
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: str

    @property
    def operation(self) -> str:
        return self.headers.get("SOAPAction", "").strip('"').rpartition("/")[2]


@dataclass
class Say:
    """One answer: status, body, content type; `pieces` are sent one by one, the connection closed after them."""

    body: str | bytes = ""
    status: int = 200
    content_type: str | None = XML
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Iterator[bytes] | None = None
    length: int | None = None


def envelope(operation: str, result: str, soap: str = SOAP11) -> str:
    """The result string in its SOAP envelope, escaped once."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{soap}"><soap:Body>'
        f'<{operation}Response xmlns="{NS}"><{operation}Result>{escape(result)}</{operation}Result>'
        f"</{operation}Response></soap:Body></soap:Envelope>"
    )


def fault11(words: str, code: str = "soap:Server") -> Say:
    return Say(
        f'<soap:Envelope xmlns:soap="{SOAP11}"><soap:Body><soap:Fault><faultcode>{code}</faultcode>'
        f"<faultstring>{escape(words)}</faultstring><detail/></soap:Fault></soap:Body></soap:Envelope>",
        status=500,
    )


def fault12(words: str, code: str = "soap:Receiver") -> Say:
    return Say(
        f'<soap:Envelope xmlns:soap="{SOAP12}"><soap:Body><soap:Fault><soap:Code><soap:Value>{code}</soap:Value>'
        f'</soap:Code><soap:Reason><soap:Text xml:lang="en">{escape(words)}</soap:Text></soap:Reason>'
        "</soap:Fault></soap:Body></soap:Envelope>",
        status=500,
        content_type="application/soap+xml; charset=utf-8",
    )


class ScriptedMlm:
    """`on_call` answers each SOAP call with a `Say`, or with a result string; `on_sign_in` each token request."""

    def __init__(self) -> None:
        self.calls: list[Asked] = []
        self.sign_ins: list[Asked] = []
        self.on_call: Callable[[Asked], Say | str] = lambda asked: "<LOXmlFormat><loan/></LOXmlFormat>"
        self.on_sign_in: Callable[[Asked], Say] = lambda asked: token(f"t{len(self.sign_ins)}")
        self.url = ""

    def says(self, answer: Say | str) -> None:
        """Answer every call with this."""
        self.on_call = lambda asked: answer

    def answer(self, asked: Asked) -> Say:
        if asked.path == "/oauth/token":
            self.sign_ins.append(asked)
            return self.on_sign_in(asked)
        self.calls.append(asked)
        answer = self.on_call(asked)
        return Say(envelope(asked.operation, answer)) if isinstance(answer, str) else answer

    def config(self, **changes: object) -> MlmConfig:
        known = {
            "loan_service_url": f"{self.url}/los/webservice/Loan.asmx",
            "token_url": f"{self.url}/oauth/token",
            "client_id": "the-client",
            "client_secret": "the-secret",
        }
        return MlmConfig(**(known | changes))  # type: ignore[arg-type]


def token(text: str, expires_in: object = 14_400) -> Say:
    body = {"access_token": text, "token_type": "Bearer", "expires_in": expires_in}
    return Say(json.dumps(body), content_type="application/json")


@contextmanager
def running() -> Iterator[ScriptedMlm]:
    """A scripted MLM on a free port of loopback."""
    mlm = ScriptedMlm()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            say = mlm.answer(Asked(self.path, dict(self.headers), body))
            data = say.body.encode() if isinstance(say.body, str) else say.body
            self.send_response_only(say.status)  # without a Date of its own
            if say.content_type:
                self.send_header("Content-Type", say.content_type)
            for name, value in say.headers.items():
                self.send_header(name, value)
            if say.pieces is None:
                self.send_header("Content-Length", str(len(data) if say.length is None else say.length))
            if say.pieces is not None or say.length is not None:
                self.send_header("Connection", "close")  # also tells the handler to close
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()
            try:
                for piece in say.pieces or ():
                    self.wfile.write(piece)
                    self.wfile.flush()
            except OSError:
                pass  # the client has had enough

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    mlm.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield mlm
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def connected(**changes: object) -> Iterator[tuple[ScriptedMlm, MlmClient]]:
    """A scripted MLM and a client of it."""
    with running() as mlm:
        client = MlmClient(mlm.config(**changes))
        try:
            yield mlm, client
        finally:
            client.close()
