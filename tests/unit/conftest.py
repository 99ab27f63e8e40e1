"""Hypothesis without deadlines: how long one example takes is the machine's business."""

from hypothesis import settings

settings.register_profile("vend", deadline=None)
settings.load_profile("vend")
