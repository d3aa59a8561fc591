"""Composed configs of all rows and teachers of every suite, byte for byte, with three seeds."""

import json

import pytest
from composed import FILE, SUITES, row_digests, suite_of, teacher_digests

GOLDEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("name", SUITES)
def test_every_row_and_teacher_is_composed_as_ever(name):
    suite = suite_of(name)
    found = dict(teacher_digests(suite))
    for row in suite.rows:
        found |= row_digests(suite, row)
    assert found == GOLDEN[name]
