"""Every activation that is compared here, each on its own."""
