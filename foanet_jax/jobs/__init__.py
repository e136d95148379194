"""The command line and the jobs that it starts."""
