"""The optics of one microscope: white balance and flat-field from a blank field, scale from a stage micrometer, and their use."""
