"""`usbench audit`: what arithmetic alone can find in printed tables."""

from benchmark.audit.checks import audit, audit_files

__all__ = ["audit", "audit_files"]
