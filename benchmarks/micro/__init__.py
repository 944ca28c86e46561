"""One script per question about a small piece of code."""
