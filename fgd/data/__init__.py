"""Data sets in COCO's format: fetched, unpacked, and looked through before anything is trained."""
