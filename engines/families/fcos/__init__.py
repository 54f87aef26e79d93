"""FCOS: every point of five maps tells the box that it lies in, its type and how central the point is. No anchors."""
