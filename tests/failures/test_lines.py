"""Lines between the processes of a job, and what others may try on them."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpinn.failures.lines import BODY, CALLERS, HEARTBEAT, LOST, NONCE, SEAL, SIGNAL, Line, Message, Port, new_key

SIZE = BODY.size + SEAL
BEAT = Message(HEARTBEAT, 3, 0.5)


opened: list[Line | socket.socket] = []


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


@pytest.fixture
def port() -> Iterator[Port]:
    found = Port(new_key(), hosts=False)
    yield found
    found.close()


class Tap:
    """Somebody between a caller and a port, who sees all that goes by."""

    def __init__(self, port: Port) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.calling = Line.call("127.0.0.1", server.getsockname()[1], port.key)
            self.near, _ = server.accept()
        self.far = socket.create_connection(("127.0.0.1", port.number))
        self.near.setblocking(False)
        self.far.setblocking(False)
        opened.extend((self.calling, self.near, self.far))
        self.upwards = b""  # what the caller has sent

    def pump(self) -> None:
        """Let pass what has come."""
        with contextlib.suppress(OSError):
            passing = self.near.recv(4096)
            self.upwards += passing
            self.far.sendall(passing)
        with contextlib.suppress(OSError):
            self.near.sendall(self.far.recv(4096))


def met(port: Port, tap: Tap | None = None) -> tuple[Line, Line]:
    """Return both ends of a line, the calling one first; it has said one heartbeat."""
    calling = tap.calling if tap else Line.call("127.0.0.1", port.number, port.key)
    opened.append(calling)
    said = False
    for _ in range(2000):
        said = said or calling.send(BEAT)
        if tap:
            tap.pump()
        for called, messages in port.arrived():
            assert messages == [BEAT]
            opened.append(called)
            return calling, called
        calling.receive()
        time.sleep(0.001)
    raise AssertionError("they did not meet")


def heard(line: Line) -> list[Message]:
    """Return what arrives next, or nothing where the line is closed."""
    for _ in range(2000):
        messages = line.receive()
        if messages or line.closed:
            return messages
        time.sleep(0.001)
    return []


def stranger(port: Port) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port.number))
    opened.append(one)
    return one


def nothing_arrives(port: Port) -> bool:
    """Return whether the port takes nobody, and forgets whoever was there."""
    for _ in range(50):
        if port.arrived():
            return False
        time.sleep(0.001)
    return True


def test_what_is_said_is_heard_on_either_side(port: Port) -> None:
    calling, called = met(port)
    assert called.send(Message(SIGNAL, -1, 15.0)) and heard(calling) == [Message(SIGNAL, -1, 15.0)]
    calling.close()
    assert heard(called) == [] and called.closed and not called.send(BEAT)


def test_who_has_another_key_is_not_heard(port: Port) -> None:
    other = Line.call("127.0.0.1", port.number, new_key())
    opened.append(other)
    sent = False
    for _ in range(2000):
        sent = sent or other.send(BEAT)
        assert port.arrived() == []
        other.receive()
        if other.closed:
            break
    assert sent and other.closed


def test_what_was_said_before_is_not_heard_again(port: Port) -> None:
    tap = Tap(port)
    _, called = met(port, tap)
    first = tap.upwards[NONCE:]
    assert len(first) == SIZE
    again = stranger(port)  # on a line of its own
    again.sendall(tap.upwards)
    assert nothing_arrives(port)
    tap.far.sendall(first)  # on the same line
    assert heard(called) == [] and called.closed


def test_a_line_does_not_hear_itself(port: Port) -> None:
    tap = Tap(port)
    calling, _ = met(port, tap)
    tap.near.sendall(tap.upwards[NONCE:])
    assert heard(calling) == [] and calling.closed


@given(st.integers(0, SIZE - 1), st.integers(1, 255))
@settings(max_examples=20)
def test_a_message_with_any_byte_changed_closes_the_line(place: int, change: int) -> None:
    port = Port(new_key(), hosts=False)
    tap = Tap(port)
    calling, called = met(port, tap)
    calling.send(Message(LOST, 3))
    tap.near.setblocking(True)
    message = bytearray(tap.near.recv(SIZE, socket.MSG_WAITALL))
    message[place] ^= change
    tap.far.sendall(message)
    assert heard(called) == [] and called.closed
    port.close()


@given(st.binary(max_size=300))
@example(b"beat")
@example(bytes(NONCE + SIZE))
@settings(max_examples=50)
def test_any_bytes_of_a_stranger_raise_nothing(content: bytes) -> None:
    port = Port(new_key(), hosts=False)
    one = stranger(port)
    one.sendall(content)
    one.close()
    assert nothing_arrives(port) and port.callers == []
    port.close()


def test_those_who_call_and_say_nothing_do_not_keep_a_rank_out(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(CALLERS):
        stranger(port)
    port.arrived()
    assert len(port.callers) == CALLERS  # and no more are held
    monkeypatch.setattr("mpinn.failures.lines.PATIENCE", 0.05)
    met(port)


def test_a_closed_port_takes_nobody_and_its_lines_stay(port: Port) -> None:
    calling, called = met(port)
    port.close()
    with pytest.raises(ConnectionRefusedError):
        stranger(port)
    assert port.arrived() == [] and calling.send(BEAT) and heard(called) == [BEAT]
