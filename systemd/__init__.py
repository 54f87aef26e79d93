"""Units and other files of a box, and the scripts that make its package and image. Not part of the wheel."""
