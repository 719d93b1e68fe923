"""What commands other than ``report`` print: histories, baselines, comparisons, findings."""
