"""How is a run made to fit a budget, on which nodes, and what is said of it?"""
