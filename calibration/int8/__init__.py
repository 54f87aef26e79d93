"""INT8 for one microscope: the calibration set of its frames, explicit Q/DQ, the FP16 form."""
