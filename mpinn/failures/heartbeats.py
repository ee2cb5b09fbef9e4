"""Heartbeats: small datagrams that ranks send to one another, and to the supervisor that may start their job again."""

import fcntl
import os
import secrets
import socket
import struct
from typing import NamedTuple

VARIABLE = "MPINN_BEATS"  # in a rank's environment: where its supervisor listens
LOOPBACK = "127.0.0.1"
SIOCGIFADDR = 0x8915  # the ioctl that asks for an interface's IPv4 address
HEARTBEAT, DONE, LOST = b"beat", b"done", b"lost"


def addresses() -> list[str]:
    """Return the IPv4 addresses of this host's interfaces."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(any_socket, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has none
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


class Mailbox:
    """A socket that receives datagrams, and sends them."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("", 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]

    def receive(self) -> list[bytes]:
        """Return the datagrams that came since the last call."""
        received = []
        while True:
            try:
                received.append(self.socket.recv(64))
            except OSError:
                return received

    def send(self, message: bytes, addresses: list[str], port: int) -> None:
        """Send a datagram to every address of a host: not all of them need be reachable from here."""
        for address in addresses:
            try:
                self.socket.sendto(message, (address, port))
            except OSError:
                continue

    def close(self) -> None:
        self.socket.close()


class Supervisor(NamedTuple):
    """Where a job's supervisor listens, and the token that the job's datagrams bear."""

    token: bytes
    port: int
    lost_since: float  # seconds since 1970: what was done after it is done again; 0 in a job that was not started again
    addresses: list[str]

    @classmethod
    def here(cls, port: int, lost_since: float) -> "Supervisor":
        """Return this process as the supervisor, with a new token."""
        return cls(secrets.token_bytes(8), port, lost_since, addresses())

    def variable(self) -> str:
        """Return NAME=VALUE for the environment of the ranks."""
        return f"{VARIABLE}={self.token.hex()}:{self.port}:{self.lost_since}:{','.join(self.addresses)}"

    @classmethod
    def from_environment(cls) -> "Supervisor | None":
        """Return the supervisor that the environment names."""
        if VARIABLE not in os.environ:
            return None
        token, port, lost_since, places = os.environ[VARIABLE].split(":")
        return cls(bytes.fromhex(token), int(port), float(lost_since), places.split(","))
