"""What will be run? Suite × nodes × image → plan. Pure."""
