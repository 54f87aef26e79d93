"""One slide without a camera, a broker or a configuration: the demonstration, with a broker of its own."""
