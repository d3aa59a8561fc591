#!/usr/bin/env bash
# mmdet 2 trains on one upright image among a hundred as often as on sixteen others.
#
# Versions: mmdet 2.28.2 with mmcv 1.7.2, mmdet 3.0.0 with mmengine 0.10.7, torch 2.10.0,
#     Python 3.11; seen 2026-11-29.
# One would guess: an epoch shows every image once, but for a few that fill up the last batch.
# What happens: a batch holds images of one orientation, and mmdet 2 fills up the last batch of each
#     of the two. Where one orientation has fewer images than a step (samples_per_gpu times GPUs),
#     all of them are repeated, and their labels count for as much. mmdet 3 puts what is left of both
#     into one batch, so the same data and the same config make other epochs in the two.
# Seen (100 images, the last one upright, 16 a step, times that an epoch shows an image):
#     mmdet 2.28.2, 1 GPU: the upright one 16, others 1.13 on average
#     mmdet 2.28.2, 8 GPUs: the upright one 16, others 1.13 on average
#     mmdet 3.0.0, 1 GPU: the upright one 1, others 1.00 on average
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
pip=(venv/bin/pip install --quiet --disable-pip-version-check)
"${pip[@]}" torch==2.10.0 torchvision==0.25.0 "numpy==1.26.4" "opencv-python-headless<4.12" addict yapf==0.40.1 \
    mmengine==0.10.7 wheel "setuptools<81"
# Of both the samplers' own files alone are run, and what these import.
"${pip[@]}" --no-deps --target two mmdet==2.28.2
"${pip[@]}" --no-deps --no-build-isolation --target two mmcv==1.7.2
"${pip[@]}" --no-deps --target three mmdet==3.0.0 mmcv-lite==2.0.1

cat >count.py <<'EOF'
import importlib.util
import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, sys.argv[1])


def module(file):
    spec = importlib.util.spec_from_file_location("samplers", Path(sys.argv[1], file))
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class Images:
    """A hundred images, of which the last one is higher than wide."""

    flag = np.array([1] * 99 + [0], np.uint8)  # as mmdet 2 has it

    def __len__(self):
        return 100

    def get_data_info(self, index):  # as mmdet 3 asks
        return {"width": 640, "height": 480} if index < 99 else {"width": 480, "height": 640}


def tell(name, indices):
    times = Counter(int(index) for index in indices)
    upright, others = times.pop(99), sum(times.values()) / 99
    print(f"{name}: the upright one {upright}, others {others:.2f} on average", file=sys.stderr)
    print(upright)


np.random.seed(0)
if sys.argv[1] == "two":
    samplers = module("mmdet/datasets/samplers/group_sampler.py")
    tell("mmdet 2.28.2, 1 GPU", samplers.GroupSampler(Images(), 16))
    ranks = (samplers.DistributedGroupSampler(Images(), 2, 8, rank, 0) for rank in range(8))
    tell("mmdet 2.28.2, 8 GPUs", (index for rank in ranks for index in rank))
else:
    from mmengine.dataset import DefaultSampler

    batches = module("mmdet/datasets/samplers/batch_sampler.py").AspectRatioBatchSampler
    indices = batches(DefaultSampler(Images(), seed=0), 16)
    tell("mmdet 3.0.0, 1 GPU", (index for batch in indices for index in batch))
EOF

found=$(venv/bin/python -W ignore count.py two; venv/bin/python -W ignore count.py three)
if [ "$(echo $found)" = "16 16 1" ]; then
    echo "AS DESCRIBED"
else
    echo "CHANGED"
    exit 1
fi
