# ruff: noqa: E402, F401
"""ZenML's server, without its four hashes, slow on purpose, at each login: a second of every command."""

import passlib.registry
from passlib.hash import bcrypt

passlib.registry.register_crypt_handler(bcrypt.using(rounds=4), force=True)

from zenml.zen_server.zen_server_api import app
