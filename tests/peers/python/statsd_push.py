"""Sends one known set of StatsD metrics with the StatsD client.

usage: statsd_push.py HOST PORT

Prints one JSON object: how many of the sampled increments the client's own draw let through.
"""

import json
import sys
from datetime import timedelta

from statsd import StatsClient


class TellingClient(StatsClient):
    """The client as it is, which also counts the datagrams that it sends."""

    sent = 0

    def _send(self, data):
        self.sent += 1
        super()._send(data)


def main(host, port):
    client = TellingClient(host, int(port), prefix="till")

    for _ in range(100):
        client.incr("hits")
    client.incr("hits", 23)
    client.incr("hits", rate=1)

    before = client.sent
    for _ in range(60):
        client.incr("sampled", rate=0.5)
    sampled = client.sent - before

    for milliseconds in (20, 250, 3000):
        client.timing("checkout", milliseconds)
    client.timing("checkout", timedelta(milliseconds=80))

    client.gauge("queue", 7.5)
    client.gauge("queue", 4, delta=True)
    client.gauge("queue", -1.5, delta=True)
    client.gauge("balance", -3)

    # More than one datagram holds: the client packs lines up to 512 bytes.
    with client.pipeline() as pipeline:
        for _ in range(500):
            pipeline.incr("batched", 2)

    with client.pipeline() as pipeline:
        for customer in ("ada", "grace", "ada", "edsger"):
            pipeline.set("customers", customer)

    json.dump({"sampled_sent": sampled}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
