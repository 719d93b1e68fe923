"""Proof of work on a machine that may lie: challenge, commitment, openings, verdict, transcript. Pure; numpy only."""
