"""What mixes or distorts images as YOLOX does, until a training's last epochs."""

# mmdet's steps, those that its YOLOXModeSwitchHook leaves out if a config does not name others.
MIXING = ("Mosaic", "RandomAffine", "MixUp")
