"""Unsupervised adaptation of a detector to another microscope: pseudo-labels, region mixing (ConfMix), composites (DACA)."""
