"""Build what a release consists of, and check it in fresh environments."""
