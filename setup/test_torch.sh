#!/usr/bin/env bash
# Runs the unit and training tests with another torch than the locked ones, in an environment of its
# own beside .venv, which stays as it is. `make test-torch TORCH=2.14.1` calls it.
#   setup/test_torch.sh VERSION [pytest's arguments]
#   TESTS=tests/training setup/test_torch.sh VERSION     one of the two suites, or some files
# It takes 7 GB and, while mmcv is compiled, most of an hour of two processors.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?give a version of torch, for example: make test-torch TORCH=2.14.1}
shift
folder=.torch/$version
python=${PYTHON:-python3}

if [ ! -e "$folder/.installed" ]; then
    "$python" -m venv "$folder"
    # All that is locked, but for torch and what belongs to it: torch names its own.
    others=$(grep -E '^[a-z0-9._-]+==' setup/requirements.txt |
        grep -vE '^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z-]+)==')
    "$folder/bin/pip" install --quiet "torch==$version" torchvision
    "$folder/bin/pip" install --quiet --no-deps --requirement /dev/stdin <<<"$others"
    wheel=$("$folder/bin/python" setup/build_mmcv.py cpu)
    "$folder/bin/pip" install --quiet --no-deps --no-build-isolation "$wheel" --editable .
    touch "$folder/.installed"
fi
"$folder/bin/python" -c 'import torch; print("torch", torch.__version__)'
export OMP_NUM_THREADS=1
unset TORCH MAKEFLAGS MAKEOVERRIDES # make's, which the tests of set-up read
# These two ask whether the environment is the locked one, which this is not.
doctor=tests/unit/test_doctor.py
for tests in ${TESTS:-tests/unit tests/training}; do
    "$folder/bin/pytest" -p no:cacheprovider -n auto --dist worksteal "$tests" "$@" \
        --deselect "$doctor::test_the_packages_of_this_installation_are_the_locked_ones" \
        --deselect "$doctor::test_a_wrong_torchvision"
done
