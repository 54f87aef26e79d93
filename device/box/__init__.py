"""What surrounds the daemon on a flashed box: provisioning, boot progress, updates, sticks, support bundle."""
