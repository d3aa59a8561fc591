"""What mmcv and mmdet import and hardly use is read at its first use, and not before."""

import os
import subprocess
import sys

_PREPARED = "from fgd import compat\ncompat.prepare()\nimport sys\n"


def said(code: str) -> list[str]:
    """What a new Python prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_builds_and_measures_detectors_starts_without_them():
    unread = (
        "torch._dynamo",
        "sklearn.base",
        "matplotlib.figure",
        "torchvision.models",
        "pandas",
    )
    assert said(
        _PREPARED + "import fgd.evaluation.evaluate, fgd.training\n"
        f"print([name for name in {unread} if name in sys.modules])"
    ) == ["[]"]


def test_they_are_themselves_when_they_are_used():
    assert said(
        _PREPARED + "import mmdet.models\n"
        "from mmdet.models.dense_heads.paa_head import skm\n"
        "print(skm.GaussianMixture(2).n_components)\n"
        "import sklearn, torch, torchvision\n"
        "print(sklearn.__version__ > '1', torchvision.__version__ > '0')\n"
        "print(torchvision.ops.nms(torch.ones(1, 4), torch.ones(1), 0.5).tolist())\n"
        "from sklearn.metrics import accuracy_score\n"
        "import matplotlib.pyplot as plt\n"
        "print(callable(plt.figure), type(plt).__name__)\n"
    ) == ["2", "True True", "[0]", "True module"]


def test_a_part_of_one_that_is_not_read_yet_can_be_imported():
    assert said(
        _PREPARED + "from sklearn.metrics import accuracy_score\n"
        "from torchvision.ops import nms\n"
        "from matplotlib import pyplot\n"
        "print(accuracy_score([1], [1]), callable(nms), callable(pyplot.figure))\n"
    ) == ["1.0 True True"]


def test_threads_that_wait_leave_the_processor_to_others():
    # As libgomp itself says it, which reads its settings when torch is imported.
    code = "import fgd.compat\nfgd.compat.prepare()\nimport torch"
    for wish, expected in ((None, "PASSIVE"), ("active", "ACTIVE")):
        environment = dict(os.environ, OMP_DISPLAY_ENV="TRUE")
        environment.pop("OMP_WAIT_POLICY", None)
        environment |= {"OMP_WAIT_POLICY": wish} if wish else {}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"OMP_WAIT_POLICY = '{expected}'" in done.stderr
