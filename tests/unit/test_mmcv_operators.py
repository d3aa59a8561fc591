"""setup/mmcv_operators.py on a small source of mmcv's kind: what stays and what goes."""

import pytest
from mmcv_operators import keep_operators

BINDINGS = """\
#include "pytorch_cpp_helper.hpp"

Tensor NMSCUDAKernelLauncher(Tensor boxes,
                             float threshold);

Tensor nms_cuda(Tensor boxes, float threshold) {
  return NMSCUDAKernelLauncher(boxes, threshold);
}

Tensor nms_impl(Tensor boxes, float threshold);
REGISTER_DEVICE_IMPL(nms_impl, CUDA, nms_cuda);

void PoolCUDAKernelLauncher(Tensor input);  // brackets ({ in a comment count for nothing

void pool_cuda(Tensor input) {
  if (input.numel()) {
    PoolCUDAKernelLauncher(input);
  }
};

void pool_impl(Tensor input);
REGISTER_DEVICE_IMPL(pool_impl, CUDA,
                     pool_cuda);
"""
DISPATCH = """\
#include "pytorch_cpp_helper.hpp"
#ifdef MMCV_WITH_CUDA
void PoolCUDAKernelLauncher(Tensor input);
#endif
"""


@pytest.fixture
def cuda(tmp_path):
    folder = tmp_path / "pytorch" / "cuda"
    folder.mkdir(parents=True)
    shared = "int blocks(int n) {\n  return n / 512;\n}\n"
    (folder / "nms_cuda.cu").write_text(
        f"{shared}Tensor NMSCUDAKernelLauncher(Tensor boxes,\n    float threshold) {{\n}}\n"
    )
    (folder / "pool.cu").write_text(
        f"{shared}void PoolCUDAKernelLauncher(Tensor input) {{\n  blocks(1);\n}}\n"
    )
    (folder / "cudabind.cpp").write_text(BINDINGS)
    (folder.parent / "pool.cpp").write_text(DISPATCH)
    (folder.parent / "nms.cpp").write_text("int blocks(int n);\n")
    return folder


def test_an_operator_goes_with_what_needs_it(cuda):
    keep_operators(cuda, ["nms"])
    assert [path.name for path in cuda.glob("*.cu")] == ["nms_cuda.cu"]
    bindings = (cuda / "cudabind.cpp").read_text()
    kept, gone = BINDINGS.split("void PoolCUDAKernelLauncher")
    assert bindings.startswith(kept)
    assert "Pool" not in bindings
    assert "pool_cuda" not in bindings
    assert "REGISTER_DEVICE_IMPL(pool_impl" in gone


def test_a_direct_call_is_compiled_for_the_cpu_alone(cuda):
    before = (cuda.parent / "nms.cpp").read_text()
    keep_operators(cuda, ["nms"])
    wrapped = (cuda.parent / "pool.cpp").read_text()
    head, tail = wrapped.split(DISPATCH)
    assert "#undef MMCV_WITH_CUDA" in head
    assert "#pragma pop_macro" in tail  # in joined files, the next one has CUDA again
    assert (cuda.parent / "nms.cpp").read_text() == before  # `blocks` is still defined elsewhere


def test_all_kept_changes_nothing(cuda):
    keep_operators(cuda, ["nms", "pool"])
    assert (cuda / "cudabind.cpp").read_text() == BINDINGS
    assert (cuda.parent / "pool.cpp").read_text() == DISPATCH


def test_an_unknown_operator_is_refused_before_anything_changes(cuda):
    with pytest.raises(ValueError, match=r"no CUDA operator 'roi'.*\['nms', 'pool'\]"):
        keep_operators(cuda, ["nms", "roi"])
    assert (cuda / "pool.cu").exists()
