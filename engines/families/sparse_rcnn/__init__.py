"""Sparse R-CNN: one of the detectors that the paper compares with."""
