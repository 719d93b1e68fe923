"""``hpcaccept node-check`` decides whether a job may run on this node. Parts look (``gpus``, ``kernel``, ``links``, ``host``, ``storage``, ``deep``), ``gate`` judges.

Every part is a function of what is expected and of what an earlier look kept; it runs in a process of its own (``transport.apart``), so
that one that hangs costs no other its answer. No part starts a program or opens a socket.
"""
