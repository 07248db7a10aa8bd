"""Reads metrics from standard input with the parsers of Prometheus' own Python client; prints them as one JSON document.

The argument says in which format they are: `openmetrics` or `prometheus`.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

parse = {"openmetrics": openmetrics, "prometheus": prometheus}[sys.argv[1]]
json.dump(
    [
        {
            "name": family.name,
            "type": family.type,
            "help": family.documentation,
            "unit": family.unit,
            "samples": [[sample.name, sample.labels, sample.value] for sample in family.samples],
        }
        for family in parse(sys.stdin.read())
    ],
    sys.stdout,
)
