"""The version of the method: what a distilled student depends on beside its config and its files.

The method is the loss (`fgd.loss`), what the distiller compares with it (`fgd.distiller`), what a
student inherits (`fgd.weights`) and the operators that both compute with (`fgd.compat`).

Raise METHOD_VERSION by one with every change after which the same config ends in another student,
beyond rounding; what was distilled before is then distilled anew, and `fgd verify` says that it is
of another method. Leave it as it is for other names, other words and faster ways to the same
values. tests/unit/test_method.py fails when the values change and the version does not. With a new
version write the values that it is known by: `.venv/bin/python tests/method_values.py`.
"""

METHOD_VERSION = 1

# What results of version 1 carry: a hash of the method's code, from before there were versions.
_FIRST = "c0abf72a179554a23c860a507e5f90f3515b0d99d465268daf4b9219d5a4ea33"


def method_id(version: int = METHOD_VERSION) -> str:
    """What fingerprints, provenance and the workflow know a version of the method by."""
    return _FIRST if version == 1 else f"method {version}"
