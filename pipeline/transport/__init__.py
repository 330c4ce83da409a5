"""Tracklets and events between machines, never pixels."""
