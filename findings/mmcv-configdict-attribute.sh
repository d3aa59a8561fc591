#!/usr/bin/env bash
# A dict that is set on an mmcv ConfigDict stays a plain dict; one set on the Config does not.
#
# Versions: mmcv 1.7.2, addict 2.4.0, Python 3.11; seen 2026-11-27.
# One would guess: `config.model.neck = dict(type="FPN")` and then `config.model.neck.type`, as with
#     any other part of the config.
# What happens: only what is there when the config is made, or is set on the Config itself, becomes
#     a ConfigDict. One level down the assignment keeps the plain dict, and the next look-up by
#     attribute fails, often far from the assignment.
# Seen:
#     config.neck: ConfigDict
#     config.model.neck: dict
#     config.model.neck.type: AttributeError 'dict' object has no attribute 'type'
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
# mmcv is built here (Python only, without its operators); newer setuptools cannot build it.
venv/bin/pip install --quiet --disable-pip-version-check setuptools==80.9.0 wheel==0.48.0 \
    numpy==1.26.4 opencv-python-headless==4.11.0.86 addict==2.4.0 yapf==0.43.0 pillow==13.0.0
venv/bin/pip install --quiet --disable-pip-version-check --no-build-isolation mmcv==1.7.2

venv/bin/python -W ignore - <<'EOF'
import sys

from mmcv import Config

config = Config({"model": {"type": "RetinaNet"}})
config.neck = {"type": "FPN"}
config.model.neck = {"type": "FPN"}
kinds = [type(config.neck).__name__, type(config.model.neck).__name__]
print(f"config.neck: {kinds[0]}")
print(f"config.model.neck: {kinds[1]}")
try:
    failed = not config.model.neck.type
except AttributeError as error:
    failed = True
    print(f"config.model.neck.type: AttributeError {error}")
as_described = failed and kinds == ["ConfigDict", "dict"]

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
