#!/usr/bin/env bash
# After unflatten(1, (-1, k)), torch's tracing ONNX exporter takes sizes for those of the traced
# example, also along axes that were declared dynamic. The tensor itself has the right shape.
#
# Versions: torch 2.11.0, onnx 1.18.0, onnxruntime 1.32.0, numpy 1.26.4, Python 3.11; seen 2026-11-27.
# One would guess: flatten(1).unflatten(1, (-1, k)), with which a detection head's maps become rows,
#     and reshape(n, -1, k) make the same graph.
# What happens: nothing is said. A size that is asked for later is a constant: as the limit of an
#     index or the length of a range it is that of the traced image, and boxes of larger images are
#     silently others. After reshape it follows the image.
# Seen, for 12 x 8 pixels of 20 channels where 6 x 8 were traced:
#     reshape: rows (1, 192, 10), of numbers 1920
#     unflatten: rows (1, 192, 10), of numbers 960
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    torch==2.11.0 onnx==1.18.0 onnxruntime==1.32.0 numpy==1.26.4

venv/bin/python -W ignore - <<'EOF'
import sys

import numpy as np
import onnxruntime
import torch


class Reshape(torch.nn.Module):
    def forward(self, maps):
        rows = maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, 10)
        return rows, torch._shape_as_tensor(rows.sigmoid().flatten(1))[1]


class Unflatten(torch.nn.Module):
    def forward(self, maps):
        rows = maps.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 10))
        return rows, torch._shape_as_tensor(rows.sigmoid().flatten(1))[1]


found = []
for module in (Reshape().eval(), Unflatten().eval()):
    torch.onnx.export(
        module, (torch.zeros(1, 20, 6, 8),), "graph.onnx", input_names=["maps"],
        dynamic_axes={"maps": {0: "n", 2: "height", 3: "width"}}, dynamo=False,
    )
    session = onnxruntime.InferenceSession("graph.onnx")
    rows, numbers = session.run(None, {"maps": np.zeros((1, 20, 12, 8), np.float32)})
    found.append((rows.shape, int(numbers)))
    print(f"{type(module).__name__.lower()}: rows {rows.shape}, of numbers {numbers}")
as_described = found == [((1, 192, 10), 1920), ((1, 192, 10), 960)]

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
