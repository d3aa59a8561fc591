"""A detector as an ONNX graph, from an image's bytes to boxes, scores, labels and masks.

    write       a config and a checkpoint to a file, checked against mmdet before it is there
    graph       the module that is traced
    dense       candidate boxes of one-stage heads, and of an RPN
    regions     the second stage
    suppression which of the candidates are kept
    runtime     the file in onnxruntime, with mmdet's results

mmdet works image by image on lists of what passes a threshold; a graph works on tensors of one
shape. So candidates always have one number, and what is none has the score 0.
"""
