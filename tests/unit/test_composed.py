"""Composed configs, byte for byte: a change that nobody meant would train finished rows anew."""

import json
from dataclasses import replace

import pytest
from composed import FILE, SUITES, row_digests, suite_of, teacher_digests

GOLDEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("name", SUITES)
def test_a_row_of_every_suite_is_composed_as_ever(name):
    suite = suite_of(name)
    row = suite.rows[-1]
    teacher = dict(teacher_digests(replace(suite, rows=(row,))))
    assert dict(row_digests(suite, row)) | teacher == {
        key: digest
        for key, digest in GOLDEN[name].items()
        if key.startswith(f"{row}/") or key in teacher
    }
