"""Real trainings of a few steps, some of them killed, disturbed or in several processes."""

from small_suite import own_cache, tiny_data, tiny_suite

__all__ = ["own_cache", "tiny_data", "tiny_suite"]
