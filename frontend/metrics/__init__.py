"""What the front end measures, what handlers and the system report, and where it goes."""
