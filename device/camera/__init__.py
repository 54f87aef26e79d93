"""Where frames come from: one kind of camera a file, chosen by `factory.open_camera`, kept alive by `capture.Capture`."""
