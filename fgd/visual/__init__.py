"""Pictures: what detectors find on an image, and what FGD sees of it."""
