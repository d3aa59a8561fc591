#!/usr/bin/env bash
# mmcv's Config changes strings with a backslash when it is written and read again.
#
# Versions: mmcv 1.7.2, yapf 0.43.0, addict 2.4.0, Python 3.11; seen 2026-11-27.
# One would guess: `Config.dump` writes a file that `Config.fromfile` reads as the same config.
# What happens: a string is put between quotes as it is. A backslash and what follows it become
#     another character, without a word (data\new gets a line break); a string with an apostrophe, a
#     class called driver's seat say, is not written at all: yapf is given Python that does not
#     parse.
# Seen:
#     'images' comes back as 'images'
#     'data\\new' comes back as 'data\new'
#     "driver's seat" raises YapfError
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

seen = []
for value in ("images", r"data\new", "driver's seat"):
    try:
        Config({"value": value}).dump("config.py")
        seen.append(Config.fromfile("config.py").value)
        print(f"{value!r} comes back as {seen[-1]!r}")
    except Exception as error:
        seen.append(type(error).__name__)
        print(f"{value!r} raises {seen[-1]}")
as_described = seen == ["images", "data\new", "YapfError"]

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
