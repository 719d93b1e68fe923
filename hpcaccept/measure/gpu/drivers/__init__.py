"""The vendors of GPUs: one file each, found by module name; each holds a ``VENDOR`` (``hpcaccept.measure.gpu.driver``)."""
