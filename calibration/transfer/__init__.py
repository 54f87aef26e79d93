"""Labels carried from one microscope to another by registering pairs of fields."""
