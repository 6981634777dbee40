"""Reads a Prometheus text exposition from standard input with the parser of Prometheus's Python client.

Prints a JSON array of families: name, type, and samples as [name, labels, value]; a value is text, so that NaN and the
infinities come through. Exits with 1, and every reason, where the parser refuses the text or the text is not a sound
exposition: a sample outside its declared family, a family or a sample given twice, a histogram that contradicts itself.
"""

import json
import math
import sys

from prometheus_client.parser import text_string_to_metric_families

KNOWN_TYPES = {"counter", "gauge", "histogram", "summary"}


def flaws_of_histogram(family):
    """Buckets must not fall with `le`, and the infinite one is the count."""
    series = {}
    for sample in family.samples:
        key = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        series.setdefault(key, []).append(sample)
    for key, samples in series.items():
        where = f"{family.name}{dict(key)}"
        buckets = sorted((float(s.labels["le"]), s.value) for s in samples if s.name == f"{family.name}_bucket")
        counts = [s.value for s in samples if s.name == f"{family.name}_count"]
        sums = [s.value for s in samples if s.name == f"{family.name}_sum"]
        if len(counts) != 1 or len(sums) != 1:
            yield f"{where} has {len(counts)} counts and {len(sums)} sums"
            continue
        if not buckets or buckets[-1] != (math.inf, counts[0]):
            yield f"{where} counts {counts[0]}, but its last bucket is {buckets[-1:]}"
        values = [value for _, value in buckets]
        if values != sorted(values):
            yield f"{where} has buckets that fall: {values}"


def flaws_of(families):
    names, series = set(), set()
    for family in families:
        # The parser hands out a sample that belongs to no declared family as a family of its own without a type.
        if family.type not in KNOWN_TYPES:
            yield f"{family.name} has no declared type ({family.type}): {family.samples}"
        if family.name in names:
            yield f"the family {family.name} is there twice"
        names.add(family.name)
        if not family.samples:
            yield f"the family {family.name} has no sample"
        for sample in family.samples:
            identity = (sample.name, tuple(sorted(sample.labels.items())))
            if identity in series:
                yield f"the sample {sample.name}{sample.labels} is there twice"
            series.add(identity)
        if family.type == "histogram":
            yield from flaws_of_histogram(family)


def main():
    text = sys.stdin.buffer.read().decode("utf-8")
    families = list(text_string_to_metric_families(text))
    flaws = list(flaws_of(families))
    if not text.endswith("\n"):
        flaws.append("the last line has no line feed at its end")
    if flaws:
        sys.exit("\n".join(flaws))
    json.dump(
        [
            {
                "name": family.name,
                "type": family.type,
                "samples": [[s.name, s.labels, repr(float(s.value))] for s in family.samples],
            }
            for family in families
        ],
        sys.stdout,
    )


if __name__ == "__main__":
    main()
