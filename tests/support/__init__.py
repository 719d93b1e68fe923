"""What tests share: builders, stand-ins, fixtures."""
