"""What is quick: functions, and small detectors that are built and not trained."""

from small_suite import own_cache, tiny_data, tiny_suite

__all__ = ["own_cache", "tiny_data", "tiny_suite"]
