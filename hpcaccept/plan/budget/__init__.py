"""Which checks fit a budget, what they cost, and what will be seen. Pure: candidates with costs and sights in, a choice out."""
