"""The receiver's side: what a supervisor sees of the summaries that devices send. Nothing here runs on the device's own line."""
