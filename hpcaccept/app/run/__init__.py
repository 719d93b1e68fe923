"""From a request to a verdict: submit, wait, collect, judge and report one run."""
