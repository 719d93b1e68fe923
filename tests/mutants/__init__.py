"""Small changes made on purpose to what decides verdicts: which of them does no test notice?"""
