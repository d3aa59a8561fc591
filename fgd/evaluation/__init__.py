"""What a detector is worth: `evaluate` a checkpoint, by the `scores` of its detections.

What was `measured` once is not measured again.
"""
