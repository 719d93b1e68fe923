"""Clouds as seen from outside: pure shapes of their templates, requests and answers. Nothing here opens a socket."""
