"""An engine against its float reference: what it loses, whether that is allowed, and a page that shows it."""
