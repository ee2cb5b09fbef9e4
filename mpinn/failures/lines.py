"""Lines: TCP connections between the processes of a job, on which every message proves that it is of this job.

Caller and called each begin with a random nonce; the job's key and the two nonces make the key of the line. A message
bears a counter and a seal, a keyed BLAKE2b (RFC 7693). Who does not have the job's key can neither make a message nor
send an old one again, on this line or another: a line with a wrong seal or counter is closed.
"""

import fcntl
import hashlib
import secrets
import socket
import struct
import threading
from time import monotonic
from typing import NamedTuple

LOOPBACK = "127.0.0.1"
KEY = NONCE = 16  # bytes
SIOCGIFADDR = 0x8915  # the ioctl that asks for an interface's IPv4 address
BODY = struct.Struct("<QBid")  # counter, word, rank, value
SEAL = 16  # bytes
MOST = 4096  # bytes read from a line at a time
CALLERS = 64  # that a port hears at a time, of those that have not proved anything yet
PATIENCE = 2.0  # seconds in which a caller has to

HEARTBEAT, DONE, LOST, SIGNAL = range(4)  # the words


class Message(NamedTuple):
    word: int
    rank: int = -1  # of the sender, by its number at the start; -1: mpinn.launch
    value: float = 0.0


def new_key() -> bytes:
    return secrets.token_bytes(KEY)


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


def others(found: list[str]) -> list[str]:
    """Return the addresses at which another host may reach this one."""
    return [address for address in found if not address.startswith("127.")]


class Line:
    """One end of a connection. It never waits, and whatever arrives on it raises nothing."""

    def __init__(self, connection: socket.socket, key: bytes, calling: bool) -> None:
        """connection: may be about to be made. calling: whether this is the end that called."""
        self.connection = connection
        self.connection.setblocking(False)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.job_key, self.calling = key, calling
        self.key = b""  # of the line, once the other end's nonce is here
        self.nonce = secrets.token_bytes(NONCE)
        self.begun = False  # whether our nonce has been sent
        self.sent = self.received = 0  # messages
        self.unread = b""
        self.closed = False
        self.sending = threading.Lock()

    @classmethod
    def call(cls, address: str, port: int, key: bytes) -> "Line":
        """Return a line that is about to be made."""
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.connect_ex((address, port))
        return cls(connection, key, calling=True)

    def fileno(self) -> int:
        return self.connection.fileno()

    def seal(self, body: bytes, calling: bool) -> bytes:
        side = b"caller" if calling else b"called"
        return hashlib.blake2b(body, digest_size=SEAL, key=self.key, person=side).digest()

    def begin(self) -> None:
        """Send our nonce as soon as the connection is made."""
        if not self.begun and not self.closed:
            self.begun = self.write(self.nonce)

    def send(self, message: Message) -> bool:
        """Send a message; return whether that could be done now."""
        with self.sending:
            self.begin()
            if not self.key or self.closed:
                return False
            body = BODY.pack(self.sent, *message)
            self.sent += 1
            return self.write(body + self.seal(body, self.calling))

    def write(self, content: bytes) -> bool:
        """Write all or nothing: a part of a message would be no use to anybody."""
        try:
            whole = self.connection.send(content) == len(content)
        except BlockingIOError:
            return False
        except OSError:
            whole = False
        if not whole:
            self.close()
        return whole

    def receive(self) -> list[Message]:
        """Return the messages that have come, and close the line where the other end has, or a wrong one is there."""
        with self.sending:
            self.begin()
        try:
            content = self.connection.recv(MOST)
        except BlockingIOError:
            return []
        except OSError:
            content = b""
        if not content:
            self.close()
        self.unread += content
        if not self.key and len(self.unread) >= NONCE:
            theirs, self.unread = self.unread[:NONCE], self.unread[NONCE:]
            nonces = self.nonce + theirs if self.calling else theirs + self.nonce
            self.key = hashlib.blake2b(nonces, digest_size=KEY, key=self.job_key).digest()
        found = []
        while self.key and len(self.unread) >= BODY.size + SEAL:
            body, seal = self.unread[: BODY.size], self.unread[BODY.size : BODY.size + SEAL]
            self.unread = self.unread[BODY.size + SEAL :]
            counter, *message = BODY.unpack(body)
            if not secrets.compare_digest(seal, self.seal(body, not self.calling)) or counter != self.received:
                self.close()
                break
            self.received += 1
            found.append(Message(*message))
        return found

    def close(self) -> None:
        self.closed = True
        self.connection.close()


class Port:
    """Where lines of a job arrive. It is closed once all are there, and then nobody can call any more."""

    def __init__(self, key: bytes, hosts: bool) -> None:
        """hosts: whether other hosts may call."""
        self.key = key
        self.socket = socket.create_server(("" if hosts else LOOPBACK, 0), backlog=CALLERS)
        self.socket.setblocking(False)
        self.number: int = self.socket.getsockname()[1]
        self.callers: list[tuple[Line, float]] = []  # and since when, by monotonic

    @property
    def open(self) -> bool:
        return self.socket.fileno() >= 0

    @property
    def sockets(self) -> list[Line | socket.socket]:
        """What to wait for until something happens here."""
        return [self.socket, *(line for line, _ in self.callers)] if self.open else []

    def arrived(self) -> list[tuple[Line, list[Message]]]:
        """Return the lines that have proved that they are of this job, each with what it said."""
        while self.open and len(self.callers) < CALLERS:
            try:
                connection, _ = self.socket.accept()
            except OSError:  # none is there, or it has left
                break
            self.callers.append((Line(connection, self.key, calling=False), monotonic()))
        proved, waiting = [], []
        for line, since in self.callers:
            messages = line.receive()
            if messages:
                proved.append((line, messages))
            elif line.closed or monotonic() - since > PATIENCE:
                line.close()
            else:
                waiting.append((line, since))
        self.callers = waiting
        return proved

    def close(self) -> None:
        """Hear nobody any more; lines that have arrived stay."""
        self.socket.close()
        for line, _ in self.callers:
            line.close()
        self.callers = []
