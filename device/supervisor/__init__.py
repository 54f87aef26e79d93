"""The receiver's side: what a supervisor sees of the summaries that devices send. Nothing here runs on the device's own line.

`watch` prints what arrives in a terminal. `supervise` keeps it in a database, confirms it to the devices and shows it as pages.
"""
