"""A concept bottleneck beside a detector: each cell's attributes are told first, and its type is a linear function of them alone."""
