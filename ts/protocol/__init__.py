"""Messages between server and worker; private but for one function."""
