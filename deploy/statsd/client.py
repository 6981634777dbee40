"""A program of the days before OpenTelemetry: it counts, times and samples by StatsD, and knows nothing else.

    python3 client.py HOST:PORT
"""

import random
import socket
import sys
import time

host, port = sys.argv[1].rsplit(":", 1)
print(f"sends StatsD to {host}:{port} every second", flush=True)
while True:
    lines = ["legacy.jobs:1|c", f"legacy.job_time:{random.lognormvariate(3, 0.5):.1f}|ms", f"legacy.queue:{random.randint(0, 9)}|g"]
    try:
        # A name that is looked up each time follows the receiver when it moves.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(lines).encode(), (host, int(port)))
    except OSError as error:
        print(f"could not send: {error}", flush=True)
    time.sleep(1)
