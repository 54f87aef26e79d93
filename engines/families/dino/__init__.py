"""DINO, the denoising DETR: one of the detectors that the paper compares with."""
