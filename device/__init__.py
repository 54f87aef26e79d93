"""The daemon of the appliance: from a camera's frame to the screen, the record and the broker. Read `pipeline.py` first."""
