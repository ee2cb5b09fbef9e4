"""Allreduce between hosts on one switch, simulated message by message by SimGrid (https://simgrid.org).

A script of its own, with nothing of mpinn in it: it runs under the Python that SimGrid is installed for, Debian's say
(apt install python3-simgrid). It reads a JSON object from standard input, with `sizes` [[hosts, bytes], ...], `message`
(seconds), `link` and `switch` (bytes a second: of each host's link, and of all together), and prints the seconds of
each. Hosts that are a power of two halve and double, others send in a ring: the algorithms of `model`.
"""

import json
import sys
from typing import Any

try:
    from simgrid import Actor, Barrier, Engine, LinkInRoute, Mailbox, NetZone
except ImportError:
    sys.exit(3)

PLAIN = ("--cfg=network/model:CM02", "--cfg=network/crosstraffic:0", "--log=root.thresh:error")  # latency + size / rate


def exchange(to: int, me: int, size: float, tag: str) -> None:
    """Send so many bytes to a host, and receive what another sends to this one under the same tag."""
    sent = Mailbox.by_name(f"{to}.{tag}").put_async(b"", max(1, int(size)))
    received, _kept = Mailbox.by_name(f"{me}.{tag}").get_async()
    sent.wait()
    received.wait()


def ring(me: int, hosts: int, size: float, tag: str) -> None:
    for step in range(2 * (hosts - 1)):
        exchange((me + 1) % hosts, me, size / hosts, f"{tag}.{step}")


def halving_and_doubling(me: int, hosts: int, size: float, tag: str) -> None:
    steps = hosts.bit_length() - 1
    for step in range(steps):
        exchange(me ^ (hosts >> (step + 1)), me, size / 2 ** (step + 1), f"{tag}.{step}")
    for step in range(steps):
        exchange(me ^ (1 << step), me, size * 2**step / hosts, f"{tag}.{steps + step}")


def allreduces(asked: dict[str, Any]) -> list[float]:
    """Return the seconds of an Allreduce of each of the sizes, one after the other."""
    engine = Engine([sys.argv[0], *PLAIN])
    most = max(hosts for hosts, _ in asked["sizes"])
    zone = NetZone.create_star_zone("switch")
    switch = zone.create_link("all", asked["switch"])
    switch.seal()
    meeting, seconds = Barrier(most), []

    def body(me: int) -> None:
        for number, (hosts, size) in enumerate(asked["sizes"]):
            meeting.wait()
            began = engine.clock
            if me < hosts:
                (ring if hosts & (hosts - 1) else halving_and_doubling)(me, hosts, size, str(number))
            meeting.wait()
            if me == 0:
                seconds.append(engine.clock - began)

    for number in range(most):
        host = zone.create_host(f"host{number}", 1.0)
        host.seal()
        link = zone.create_split_duplex_link(f"link{number}", asked["link"])
        link.set_latency(asked["message"] / 2)  # there is one on the way out of a host and one on the way into the next
        link.seal()
        route = [LinkInRoute(link, LinkInRoute.UP), LinkInRoute(switch)]
        zone.add_route(host.netpoint, None, None, None, route, True)
        Actor.create(f"rank{number}", host, body, number)
    zone.seal()
    engine.run()
    return seconds


if __name__ == "__main__":
    print(json.dumps(allreduces(json.load(sys.stdin))))
