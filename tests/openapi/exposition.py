"""Reads the metrics from standard input as strictly as the standard is, and prints the name of each series once."""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

names = set()
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, f"{family.name} is not described"
    names.update(sample.name for sample in family.samples)
print("\n".join(sorted(names)))
