"""The nouns of ``nightly``."""
