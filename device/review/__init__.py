"""The review of a finished slide: what a person does to it, in order and for good, and when it may be signed."""
