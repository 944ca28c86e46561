"""Real models behind each batch policy, beside a plain loop that calls the same handler."""
