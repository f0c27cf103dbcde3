"""The training loop and what it stands on. It is handed objects and never looks one up by name."""
