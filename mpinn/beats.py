"""Signs of life: small datagrams that ranks send to one another, and to the launcher that may start the job again."""

import fcntl
import os
import secrets
import socket
import struct
from typing import NamedTuple

VARIABLE = "MPINN_BEATS"  # in a rank's environment: where its launcher listens
LOOPBACK = "127.0.0.1"
SIOCGIFADDR = 0x8915  # the ioctl that asks for an interface's IPv4 address
BEAT, DONE, LOST = b"beat", b"done", b"lost"


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


class Ear:
    """A socket to which datagrams are sent."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("", 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]

    def hear(self) -> list[bytes]:
        """Return what has come since the last time."""
        heard = []
        while True:
            try:
                heard.append(self.socket.recv(64))
            except OSError:
                return heard

    def say(self, message: bytes, addresses: list[str], port: int) -> None:
        """Send a datagram to every address that a host has: not all may have a way from here."""
        for address in addresses:
            try:
                self.socket.sendto(message, (address, port))
            except OSError:
                continue

    def close(self) -> None:
        self.socket.close()


class Launcher(NamedTuple):
    """Where the launcher listens, and the token that its job's datagrams bear."""

    token: bytes
    port: int
    lost_since: float  # what was done from then on, in seconds since 1970, is done again; 0: nothing is
    addresses: list[str]

    @classmethod
    def here(cls, port: int, lost_since: float) -> "Launcher":
        """Return this process, with a new token."""
        return cls(secrets.token_bytes(8), port, lost_since, addresses())

    def variable(self) -> str:
        """Return NAME=VALUE for the environment of the ranks."""
        return f"{VARIABLE}={self.token.hex()}:{self.port}:{self.lost_since}:{','.join(self.addresses)}"

    @classmethod
    def of_environment(cls) -> "Launcher | None":
        """Return what the environment says of the launcher."""
        if VARIABLE not in os.environ:
            return None
        token, port, lost_since, places = os.environ[VARIABLE].split(":")
        return cls(bytes.fromhex(token), int(port), float(lost_since), places.split(","))
