"""The copy that goes to the broker: topics, payloads, one connection, the outbox's publisher. The record stays the truth."""
