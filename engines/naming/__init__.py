"""The naming layer: what a second look at a cell says of its type, group and attributes, and how sure that is."""

from engines.naming.layer import NamingInfo, NamingLayer

__all__ = ["NamingInfo", "NamingLayer"]
