"""The logs that the front end writes line by line, and how all logs are set up."""
