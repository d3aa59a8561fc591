#!/usr/bin/env bash
# `min_bbox_size=0` in a one-stage detector's test_cfg does nothing in mmdet 2 and leaves boxes out in
# mmdet 3.
#
# Versions: mmdet 2.28.2, onedl-mmdetection 3.5.1, Python 3.11; seen 2026-11-28.
# One would guess: a key of the same name, in the same place of the same published configs, does the
#     same in both.
# What happens: in mmdet 2 only region proposals' heads read it. In mmdet 3 the base of all dense
#     heads does: boxes that are not wider and higher than it, among them those of no width at the
#     image's border, are left out before non-maximum suppression, which changes detections.
# Seen:
#     mmdet 2.28.2: read in GARPNHead, RPNHead, StageCascadeRPNHead
#     onedl-mmdetection 3.5.1: read in BaseDenseHead, GARPNHead, RPNHead, RTMDetInsHead
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
# The sources alone: neither is run.
venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target two mmdet==2.28.2
venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target three \
    onedl-mmdetection==3.5.1

venv/bin/python - <<'EOF'
import ast
import sys
from pathlib import Path


def readers(folder):
    """The dense heads whose own code names the key, but for the documentation."""
    found = set()
    for path in Path(folder, "mmdet/models/dense_heads").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                names = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
                if "min_bbox_size" in names:
                    found.add(node.name)
    return found


two, three = readers("two"), readers("three")
print("mmdet 2.28.2: read in", ", ".join(sorted(two)))
print("onedl-mmdetection 3.5.1: read in", ", ".join(sorted(three)))
as_described = "BaseDenseHead" not in two and "BaseDenseHead" in three
print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
