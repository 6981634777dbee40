"""Says what carbon makes of paths: a JSON array of them on standard input, one answer for each on standard output.

An answer is the path under which carbon stores the series, by the parser that carbon-cache itself uses; `null` where
carbon splits the line elsewhere, refuses the path, or would store it without an index.
"""

import json
import sys

from carbon.util import TaggedSeries


def stored(path):
    line = f"{path} 1 1700000000"
    if len(line.encode()) > 16384 or len(line.split()) != 3 or "\0" in path:
        return None
    try:
        return TaggedSeries.parse(path).path
    except Exception:
        return None


print(json.dumps([stored(path) for path in json.load(sys.stdin)]))
