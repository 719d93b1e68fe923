"""Vast.ai: queries, offers, requests, requirements, prices and failure codes. Pure: values in, values out."""
