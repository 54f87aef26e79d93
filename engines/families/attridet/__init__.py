"""AttriDet and the YOLOv5 in it: network, losses, anchors, and its ONNX graphs."""
