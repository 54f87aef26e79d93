"""What the technician sees: pure drawing in `overlay`, and the windows, files or nothing that it is shown on."""
