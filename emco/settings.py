"""Every knob of emco, its environment variable, its default and its unit. Nothing else reads the environment."""

from functools import cached_property
from pathlib import Path

import platformdirs
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


class Settings(BaseSettings):
    """Read once, at the top of a process, and handed down by constructor."""

    model_config = SettingsConfigDict(env_prefix="EMCO_", extra="ignore")

    url: str = Field("http://127.0.0.1:9015", description="Where the `emco` command finds the API")
    host: str = Field("127.0.0.1", description="Address the API listens on")
    port: int = Field(9015, description="Port the API listens on")

    status_port: int = Field(
        9016, description="Port of EMCO's gRPC service StatusNotify, on `host`; 0 for none"
    )

    data: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("emco"),
        description="State of this installation: database, key, sandbox clusters",
    )
    cache: Path = Field(
        default_factory=lambda: platformdirs.user_cache_path("emco"),
        description="Built tools; can be deleted at any time",
    )
    tools: Path | None = Field(None, description="Folder of ready-made tools, used before building")

    database_url: str = Field("", description="SQLAlchemy URL; empty means SQLite below `data`")
    secret_keys: SecretStr = Field(
        SecretStr(""),
        description="Comma-separated base64 AES-256 keys, newest first; empty means a key file below `data`",
    )

    temporal_address: str = "127.0.0.1:7233"
    temporal_ui_port: int = 8233
    temporal_namespace: str = "default"
    task_queue: str = "emco"
    cancel_within: float = Field(
        8.0,
        gt=0,
        description="Seconds until a running step notices that it was stopped; less costs",
    )

    events_kept_days: float = Field(7.0, gt=0, description="Days after which events are forgotten")
    events_kept: int = Field(100_000, ge=1, description="Events that are kept at most")
    notices_allow: str = Field(
        "",
        description="Comma-separated networks (`10.0.0.0/8`) and hosts (`hooks.corp.example`, "
        "`*.corp.example`) that listeners may be at although they are not public; "
        "there http will do",
    )
    notices_timeout: float = Field(20.0, gt=0, description="Seconds that a listener may take")
    notices_retry: tuple[float, ...] = Field(
        (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
        description="JSON list of seconds to wait after each failed attempt; after one more the "
        "event is given up",
    )

    max_body_bytes: int = Field(4 * MIB, description="Largest JSON body")
    max_file_bytes: int = Field(64 * MIB, description="Largest uploaded file")
    max_unpacked_bytes: int = Field(256 * MIB, description="Largest archive, unpacked")
    max_archive_ratio: int = Field(200, description="Largest unpacked : packed ratio of an archive")
    max_archive_members: int = 10_000
    max_json_depth: int = 64

    log_level: str = "INFO"
    log_format: str = Field(
        "auto", description="`json`, `console`, or `auto`: console on a terminal"
    )

    @cached_property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data / 'emco.db'}"
