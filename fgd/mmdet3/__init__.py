"""A detector of mmdet 2.28 as config and checkpoint of mmdet 3, and one of mmdet 3 as a teacher.

    known       the classes and keys that mean the same in both
    checking    what is refused, and in which words
    model       the detector, in either direction
    data        for mmdet 3: the test set, its pipeline, its metrics
    write       for mmdet 3: both files, all or nothing
    incoming    for mmdet 2.28: a config as far as a teacher needs it

Nothing of mmdet 3 is imported: both cannot be installed side by side. What is known was read in the
sources of mmdet 2.28.2 and mmcv 1.7.2, and of onedl-mmdetection 3.5.1 and onedl-mmcv 2.3.6, and
`make test-mmdet3` compares what detectors find in both.
"""
