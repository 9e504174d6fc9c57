"""Koopman operator learning: dictionaries, operators with residuals, and lifted linear processes."""
