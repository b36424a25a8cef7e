"""What can go wrong on the ground, told to a person: the thing, the place, the next step."""


class SandboxError(Exception):
    """Shown as it is; never retried by itself."""
