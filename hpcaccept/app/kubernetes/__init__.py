"""Kubernetes: manifests are rendered (``manifest``), and pods that belong together find each other (``pod``). Nothing calls its API."""
