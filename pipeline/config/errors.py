"""The exception for wrong settings."""


class ConfigError(Exception):
    """Settings are wrong or missing (exit 2). The message never holds a secret."""
