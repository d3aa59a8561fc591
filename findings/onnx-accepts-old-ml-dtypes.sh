#!/usr/bin/env bash
# onnx 1.19.0 asks for ml_dtypes of any version and cannot be imported with 0.4.1, which a resolver
# picks beside NumPy 1, as old detection stacks want it.
#
# Versions: onnx 1.19.0, ml_dtypes 0.4.1, numpy 1.26.4, protobuf 6.33.6, Python 3.11; seen 2026-11-27.
# One would guess: what pip installs together without a complaint can be imported.
# What happens: `pip check` finds nothing; `import onnx` wants a 4-bit type that ml_dtypes has from
#     0.5 on.
# Seen:
#     pip check: No broken requirements found.
#     import onnx: AttributeError: module 'ml_dtypes' has no attribute 'float4_e2m1fn'...
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    onnx==1.19.0 ml_dtypes==0.4.1 numpy==1.26.4 protobuf==6.33.6

checked=$(venv/bin/pip check --disable-pip-version-check || true)
imported=$(venv/bin/python -c 'import onnx' 2>&1 | tail -1 || true)
echo "pip check: $checked"
echo "import onnx: $imported"
if [ "$checked" = "No broken requirements found." ] && [[ $imported == *"no attribute 'float4_e2m1fn'"* ]]
then
    echo "AS DESCRIBED"
else
    echo "CHANGED"
    exit 1
fi
