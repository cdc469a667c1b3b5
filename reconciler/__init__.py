"""Declarative reconciler for the accounts of instant-messaging apps."""

__version__ = "0.1.0"
