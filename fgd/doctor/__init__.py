"""`fgd doctor`: what an installation can do; what could crash is tried by `probes`, apart."""

from fgd.doctor.checks import FAIL, OK, TOPICS, WARN, Check, examine

__all__ = ["FAIL", "OK", "TOPICS", "WARN", "Check", "examine"]
