# Settings of graphite-web, by its name for them. Folders come from the environment, as for carbon.
import os
import secrets
from pathlib import Path

GRAPHITE_ROOT = os.environ["GRAPHITE_ROOT"]
CONF_DIR = os.environ["GRAPHITE_CONF_DIR"]
STORAGE_DIR = os.environ["GRAPHITE_STORAGE_DIR"]
# The scripts and styles of the page; graphite-web serves them by whitenoise where that is installed.
STATIC_ROOT = os.path.join(GRAPHITE_ROOT, "webapp", "content")
WHISPER_DIR = os.path.join(STORAGE_DIR, "whisper")
STANDARD_DIRS = [WHISPER_DIR]
LOG_DIR = os.path.join(STORAGE_DIR, "log", "webapp")
LOG_FILE_INFO = LOG_FILE_EXCEPTION = LOG_FILE_CACHE = LOG_FILE_RENDERING = "-"
INDEX_FILE = os.path.join(STORAGE_DIR, "index")
TIME_ZONE = "UTC"

# Published on loopback only; the names under which a browser and Grafana reach it.
ALLOWED_HOSTS = os.environ.get("GRAPHITE_ALLOWED_HOSTS", "localhost,127.0.0.1,graphite").split(",")

# Signs the sessions of users who log in. Made at the first start, and stored with the data.
_key = Path(STORAGE_DIR, "secret-key")
if not _key.exists():
    _key.touch(mode=0o600)
    _key.write_text(secrets.token_urlsafe(50))
SECRET_KEY = _key.read_text()

# Points that carbon has not written to a file yet are asked for where carbon.conf says.
CARBONLINK_HOSTS = [os.environ.get("GRAPHITE_CARBONLINK", "127.0.0.1:7002")]

# What is asked again is looked up again: a view of what was pushed just now must not be a minute old.
DEFAULT_CACHE_DURATION = 0
FIND_CACHE_DURATION = 0
TAGDB_CACHE_DURATION = 0

DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(STORAGE_DIR, "graphite.db")}
}
