"""The credential that AWS's own tools keep in a file, for where the environment has none.

Format: AWS CLI User Guide, "Configuration and credential file settings".
"""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import TYPE_CHECKING

from eptreplay.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region", "endpoint_url")
ELSEWHERE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
"""Variables that say where else the credential comes from."""


def profile_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the profile in use says of key, secret, token, region and endpoint.

    Args:
        environment: AWS_PROFILE names the profile, AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE the files.

    Returns:
        Settings by name; none where the environment has a credential of its own or there is no such file.

    Raises:
        UsageError: AWS_PROFILE names a profile that is not there, or without a key, or a file is damaged.
    """
    if any(environment.get(name) for name in ELSEWHERE):
        return {}
    wanted = environment.get("AWS_PROFILE", "")
    profile = wanted or "default"
    home = Path(environment.get("HOME") or "~").expanduser()
    credentials = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials")
    config = Path(environment.get("AWS_CONFIG_FILE") or home / ".aws" / "config")
    found = _section(config, profile if profile == "default" else f"profile {profile}")
    found |= _section(credentials, profile)
    settings = {key: found[key] for key in _KEYS if found.get(key)}
    if wanted and "aws_access_key_id" not in settings:
        raise UsageError(
            f"AWS_PROFILE: profile '{wanted}' has no key in {credentials}; correct the name, or let "
            "`aws configure export-credentials --format env` set the variables"
        )
    return settings


def _section(file: Path, name: str) -> dict[str, str]:
    """Return a section of a file; empty if there is none.

    Raises:
        UsageError: the file cannot be read.
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        # The error's own text quotes the line, which may hold a secret.
        raise UsageError(f"{file}: it cannot be read as a file of AWS profiles; correct it") from error
    return dict(parser[name]) if parser.has_section(name) else {}
