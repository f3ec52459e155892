"""How a program talks: running it, arguments, settings, flags, progress, errors."""
