"""Azure: a checked configuration, the ARM template made from it, the requests that are sent, and what the answers mean."""
