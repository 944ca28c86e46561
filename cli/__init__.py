"""The command line ``tsl``; each command is a module, imported only when it runs."""
