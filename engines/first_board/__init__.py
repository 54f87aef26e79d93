"""The day with a board: what only it can show, measured by one call into one archive to send (`attridet first-board`)."""
