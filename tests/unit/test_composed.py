"""Composed configs, byte for byte: a change that nobody meant would train finished rows anew."""

import json

import pytest
from composed import FILE, SUITES, row_digests, suite_of

GOLDEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("name", SUITES)
def test_a_row_of_every_suite_is_composed_as_ever(name):
    suite = suite_of(name)
    row = suite.rows[-1]
    assert dict(row_digests(suite, row)) == {
        key: digest for key, digest in GOLDEN[name].items() if key.startswith(f"{row}/")
    }
