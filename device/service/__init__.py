"""What a running daemon offers besides the slide: control socket, systemd, doctor."""
