"""The jobs that have a configuration: check, train, evaluate and release."""
