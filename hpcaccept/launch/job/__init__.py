"""What happens inside a job, whoever launched it: steps, deadlines, failures, retests."""
