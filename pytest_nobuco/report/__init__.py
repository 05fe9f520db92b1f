"""The reports of a session: what is in them, and in which forms they come."""
