"""The host a rank runs on: cores, memory, NUMA nodes, network adapters."""
