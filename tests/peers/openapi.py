"""Checks an OpenAPI document, given on standard input, by the specification's own schema."""

import json
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator, validate

document = json.load(sys.stdin)
validate(document, cls=OpenAPIV31SpecValidator)
print(len(document["paths"]))
