"""From torch to a bundle: weights on disk, the two ONNX graphs, and the proof that they say what torch says.

Importing this package imports nothing heavy; its modules import torch and onnx.
"""
