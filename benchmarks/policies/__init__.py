"""What batch policies are worth, in simulated time."""
