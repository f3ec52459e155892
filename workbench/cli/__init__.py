"""Run programs and talk to their users: arguments, settings, flags, progress, errors."""
