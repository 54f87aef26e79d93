"""How the networks learn: assignment, losses, schedule, loop, metrics. Imports nothing here, so that torch comes only when asked."""
