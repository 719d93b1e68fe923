"""The nouns of hpcaccept: frozen dataclasses and protocols, one per file. No I/O, no clock, no device."""
