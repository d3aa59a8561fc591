#!/usr/bin/env bash
# torch.onnx.export puts a detector that is in evaluation mode into training mode, if the module
# around it was never told: what is exported is right, what is run afterwards is not.
#
# Versions: torch 2.11.0, onnx 1.18.0, numpy 1.26.4, Python 3.11; seen 2026-11-27.
# One would guess: an export leaves a model as it found it, or at least in evaluation mode.
# What happens: it remembers the mode of the outermost module, which a new nn.Module has as training,
#     and sets that on every module inside when it is done. A detector with eval() called on it,
#     wrapped for export, has training mode after it: batch norms use the batch and change.
# Seen:
#     before: wrapper training, detector evaluation
#     after: wrapper training, detector training
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    torch==2.11.0 onnx==1.18.0 numpy==1.26.4

venv/bin/python -W ignore - <<'EOF'
import sys

import torch


class Wrapper(torch.nn.Module):
    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, x):
        return self.detector(x).sigmoid()


def modes():
    names = {True: "training", False: "evaluation"}
    return f"wrapper {names[wrapper.training]}, detector {names[detector.training]}"


detector = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).eval()
wrapper = Wrapper(detector)
before = modes()
torch.onnx.export(wrapper, (torch.zeros(1, 3, 8, 8),), "graph.onnx", dynamo=False)
after = modes()
print(f"before: {before}\nafter: {after}")
as_described = before == "wrapper training, detector evaluation"
as_described &= after == "wrapper training, detector training"

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
