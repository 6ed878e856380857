"""What can go wrong with an embedded service, as one sentence."""


class EmbeddedServiceError(Exception):
    """Starting or stopping an embedded service failed; the text says why and what to do."""
