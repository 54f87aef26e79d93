"""How good a detector is: both rules of average precision, attributes, and a bundle on a folder. No torch, no drawing."""
