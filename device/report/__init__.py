"""What is handed on of a stored slide: a page to read and print, and the list of slides in a terminal."""
