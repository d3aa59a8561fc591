"""Annotations in other formats than COCO's, made COCO files: `fgd data import`."""
