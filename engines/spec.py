"""The former name of `engines.taxonomy`, for programs outside that import it."""

from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN, Attribute, Taxonomy

__all__ = ["LEUKEMIA_ATTRI", "UNKNOWN", "Attribute", "Taxonomy"]
