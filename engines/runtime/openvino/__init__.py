"""OpenVINO on the CPU: the quick runtime for INT8 where no GPU is; it runs the same ONNX files."""
