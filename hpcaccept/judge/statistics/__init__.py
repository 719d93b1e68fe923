"""Numbers in, numbers out: rules, quantiles, aggregation and grouping behind the questions."""
