#!/usr/bin/env bash
# Building an optimizer imports torch's compiler, hundreds of modules, in a program that compiles
# nothing; a detector that was built, run and differentiated had not needed it.
#
# Versions: torch 2.10.0, numpy 1.26.4, Python 3.11; seen 2026-11-28.
# One would guess: plain SGD costs nothing to build, and `import torch` has imported what it needs.
# What happens: adding parameters is a function that torch.compile has to leave alone, and the mark
#     for that is set at its first call, for which torch._dynamo is imported, with sympy and more.
#     A short program, a test for example, spends most of its time there.
# Seen, on a busy machine:
#     forward and backward: 1109 modules, 0 of the compiler; 0.0 s
#     SGD is built: 1964 modules, 82 of the compiler; 5.2 s
#     its first step: 1964 modules, 82 of the compiler; 0.0 s
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.10.0 numpy==1.26.4

venv/bin/python -W ignore - <<'EOF'
import sys
import time

import torch


def compiler():
    return sum(name.split(".")[:2] == ["torch", "_dynamo"] for name in sys.modules)


def report(what, start):
    seconds = time.perf_counter() - start
    print(f"{what}: {len(sys.modules)} modules, {compiler()} of the compiler; {seconds:.1f} s")
    return compiler()


start = time.perf_counter()
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
model(torch.zeros(2, 3, 8, 8)).sum().backward()
before = report("forward and backward", start)
start = time.perf_counter()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
built = report("SGD is built", start)
start = time.perf_counter()
optimizer.step()
stepped = report("its first step", start)
as_described = before == 0 and built > 50 and stepped == built and "sympy" in sys.modules

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
