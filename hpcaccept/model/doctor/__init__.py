"""The nouns of ``doctor``."""
