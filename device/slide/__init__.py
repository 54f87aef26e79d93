"""The slide: when a field is new, what was counted on it, and what may be said of the film. No drawing, no storage, no network."""
