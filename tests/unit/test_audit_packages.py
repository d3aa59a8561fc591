"""The audit without network: which advisories concern a version."""

import audit
import pytest

EVENTS = [{"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "2.0"}, {"last_affected": "2.3"}]


@pytest.mark.parametrize(
    ("version", "concerned"),
    [("1.0", True), ("1.2", False), ("1.9", False), ("2.0", True), ("2.3", True), ("2.4", False)],
)
def test_ranges(version, concerned):
    advisory = {"affected": [{"ranges": [{"type": "ECOSYSTEM", "events": EVENTS}]}]}
    assert audit._concerns(advisory, version) == concerned


def test_listed_versions_count_and_commits_do_not():
    commits = {"type": "GIT", "events": [{"introduced": "0"}]}
    advisory = {"affected": [{"ranges": [commits], "versions": ["1.1"]}]}
    assert audit._concerns(advisory, "1.1")
    assert not audit._concerns(advisory, "1.0")


def test_mmcv_is_audited_under_both_of_its_names():
    assert [name for name, _ in audit._compiled()] == ["mmcv-full", "mmcv"]
