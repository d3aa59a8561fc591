"""Compiles the loss's Triton kernels for GPUs; prints, as JSON, each one's bytes of stack a thread.

A program of its own, for Triton decides when it is imported whether kernels are interpreted.
"""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

os.environ.pop("TRITON_INTERPRET", None)

import triton
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fgd.loss import kernels

CHANNELS = 256


def kind(argument: str) -> str:
    """Triton's type of a kernel's argument, by its name; features are bfloat16."""
    if argument in ("student", "teacher", "grad_student"):
        return "*bf16"
    if argument == "scale":
        return "fp32"
    if argument in ("C", "P", "tiles", "programs") or argument[-2:] in ("_n", "_c", "_p"):
        return "i32"
    return "*fp32"


def stack_bytes(name: str, capability: int, aligned: bool) -> int:
    """Compile a kernel for features of whole rows; `aligned` ones have P divisible by 16."""
    kernel = getattr(kernels, name)
    if name == "_merge_kernel":
        constants, warps = {"BLOCK_C": 32, "BLOCK_R": 64}, 4
    else:
        tile = kernels._walk(2, CHANNELS, 16800 if aligned else 16804)[0]
        constants, warps = {"BLOCK_C": CHANNELS, "BLOCK_P": tile}, kernels._WARPS
    constants |= {key: 1 for key in kernel.arg_names if key.endswith("_p")}
    strides = ("P", *(key for key in kernel.arg_names if key[-2:] in ("_n", "_c")))
    multiples = [
        key
        for key in kernel.arg_names
        if key not in constants  # of which Triton 3.8 has no argument
        and (kind(key).startswith("*") or key == "C" or (aligned and key in strides))
    ]
    source = ASTSource(
        kernel,
        {key: "constexpr" if key in constants else kind(key) for key in kernel.arg_names},
        constexprs=constants,
        attrs={(kernel.arg_names.index(key),): [["tt.divisibility", 16]] for key in multiples},
    )
    compiled = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options=dict(num_warps=warps)
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        tool = Path(nvidia.__file__).parent / "bin" / "cuobjdump"
        usage = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    return int(re.search(r"STACK:(\d+)", usage)[1])


print(
    json.dumps(
        {
            f"{name} sm_{capability} {'aligned' if aligned else 'unaligned'}": stack_bytes(
                name, capability, aligned
            )
            for name in ("_reduce_kernel", "_merge_kernel", "_gradient_kernel")
            for capability, aligned in ((80, True), (90, False))
        },
        indent=2,
    )
)
