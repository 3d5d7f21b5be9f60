"""Hosts that are network namespaces: each has an address of its own on one bridge, and a cable that can be pulled.

    with network() as net:
        net.address                    # ours: where servers that all hosts reach listen
        net.hosts[0].command(argv)     # argv, run on that host
        with net.hosts[0].cut_off():   # what it sends, and what is sent to it, is lost without a word
            ...

A pulled cable is the bridge's end of the host's link set down. Neither side is told: connections that stand hang, as
they do when a switch fails, and nobody's address or route changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

HOSTS = 2


@dataclass(frozen=True)
class Host:
    """One host: its name, which is its namespace's, and its address."""

    name: str
    address: str
    _link: str

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` on this host; the process keeps its id."""
        return ["ip", "netns", "exec", self.name, *argv]

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Pull the host's cable while the block runs."""
        _ip("link", "set", self._link, "down")
        try:
            yield
        finally:
            _ip("link", "set", self._link, "up")


@dataclass(frozen=True)
class Network:
    """The bridge's own address, the network in CIDR form, and the hosts on it."""

    address: str
    cidr: str
    hosts: tuple[Host, ...]


def why_not() -> str | None:
    """Why there can be no hosts on this machine, in words; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need `ip` (iproute2)"
    try:
        with network(hosts=1):
            return None
    except subprocess.CalledProcessError as error:
        return f"this machine lets nobody make network namespaces ({error.stderr.strip()})"


@contextmanager
def network(hosts: int = HOSTS) -> Iterator[Network]:
    """A bridge and so many hosts on it, gone with the block; their addresses are of a range that nobody routes.

    Raises:
        subprocess.CalledProcessError: this machine does not let us; `stderr` says why.
    """
    ours, third = f"mlm{os.getpid()}", os.getpid() % 256
    address = f"198.18.{third}.1"
    with ExitStack() as stack:
        _ip("link", "add", ours, "type", "bridge")
        stack.callback(_ip, "link", "del", ours)
        _ip("address", "add", f"{address}/24", "dev", ours)
        _ip("link", "set", ours, "up")
        made = [
            _host(stack, ours, f"{ours}-{number}", f"198.18.{third}.{10 + number}") for number in range(1, hosts + 1)
        ]
        yield Network(address, f"198.18.{third}.0/24", tuple(made))


def _host(stack: ExitStack, bridge: str, name: str, address: str) -> Host:
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "del", name)
    _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
    # By its own name, at once: with its namespace it goes some time later, and the next one is called the same.
    stack.callback(_ip, "link", "del", name)
    _ip("link", "set", name, "master", bridge, "up")
    _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
    _ip("-n", name, "link", "set", "eth0", "up")
    return Host(name, address, name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
