"""Focal and global knowledge distillation (FGD, arXiv 2111.11837) for mmdet detectors."""
