"""Telling listeners of events: the sinks, and the guard before the network."""
