"""Families of detectors beside YOLOv5 and AttriDet, each a folder of its own, behind one seam. The package loads nothing heavy."""
