"""Scripts that make, compare, sign and flash the image of a box."""
