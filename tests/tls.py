"""A proxy that speaks TLS, and certificates for it.

The servers from wheels are built without TLS. So it stands before them and speaks it as they would: Redis' is TLS from
the first byte on, PostgreSQL's begins with a request for it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: What libpq says first when it wants TLS: a length of 8, and a number that stands for that.
SSL_REQUEST = bytes.fromhex("0000000804d2162f")


def certificate(directory: Path, name: str) -> Path:
    """A certificate for this machine that only itself vouches for, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@contextmanager
def in_front_of(
    url: str, certificate: Path, first: bytes = b"", told: Mapping[bytes, bytes] | None = None
) -> Iterator[Callable[[str], str]]:
    """A proxy that speaks TLS and passes on to where the URL points; what makes its URL, with these parameters.

    `first`: what clients say before TLS begins, answered by a letter. `told`: what clients are told in place of what
    the server said.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    behind = sa.make_url(url)
    loop = asyncio.new_event_loop()

    async def passed(source: asyncio.StreamReader, sink: asyncio.StreamWriter, told: Mapping[bytes, bytes]) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                for said, instead in told.items():
                    data = data.replace(said, instead)
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if first:
                assert await reader.readexactly(len(first)) == first
                writer.write(b"S")
                await writer.drain()
            await writer.start_tls(context)
            to_server, from_server = (await asyncio.open_connection(behind.host, behind.port))[::-1]
            await asyncio.gather(passed(reader, to_server, {}), passed(from_server, writer, told or {}))

    listener = socket.create_server(("127.0.0.1", 0))
    server = loop.run_until_complete(asyncio.start_server(serve, sock=listener))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    scheme, rest = url.partition("://")[::2]
    there = rest.replace(f":{behind.port}/", f":{listener.getsockname()[1]}/")
    try:
        yield lambda parameters: f"{'rediss' if scheme == 'redis' else scheme}://{there}?{parameters}"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
