"""``hpcaccept node-check``: may a job run on this node? Parts that look (``gpus``, ``kernel``, ``links``, ``host``, ``storage``, ``deep``), and ``gate``, which judges.

Every part is a function of what is expected and of what an earlier look kept; it runs in a process of its own (``transport.apart``), so
that one that hangs costs no other its answer. No part starts a program or opens a socket.
"""
