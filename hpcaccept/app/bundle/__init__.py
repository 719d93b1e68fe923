"""``hpcaccept bundle``: what a vendor needs to see of one fault, packed, redacted and signed; and how that is looked at again."""
