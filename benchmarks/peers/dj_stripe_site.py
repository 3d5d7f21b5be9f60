"""A Django site that is dj-stripe and nothing else. Runs in dj-stripe's own environment, not in ours.

`python dj_stripe_site.py` makes the tables as its models have them (to run every migration there ever was takes 77 s,
measured), and the account (without it dj-stripe asks Stripe for it) and the endpoint
that events come in at; gunicorn serves `application`.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings
from django.core.management import call_command
from django.urls import include, path

_AT = urlsplit(os.environ["DATABASE_URL"])

settings.configure(
    DEBUG=False,
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "djstripe"],
    MIGRATION_MODULES={"contenttypes": None, "auth": None, "djstripe": None},
    MIDDLEWARE=[],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _AT.path.lstrip("/"),
            "USER": _AT.username,
            "PASSWORD": unquote(_AT.password or ""),
            "HOST": _AT.hostname,
            "PORT": _AT.port,
            "CONN_MAX_AGE": None,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    STRIPE_TEST_SECRET_KEY="sk_test_none",
    STRIPE_LIVE_MODE=False,
    DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
    LOGGING_CONFIG=None,
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402  (Django must be set up first)

urlpatterns = [path("stripe/", include("djstripe.urls", namespace="djstripe"))]
application = get_wsgi_application()


def main() -> None:
    """Make the tables, the account and the endpoint."""
    from djstripe.models import Account, WebhookEndpoint

    call_command("migrate", run_syncdb=True, verbosity=0)
    account, _ = Account.objects.get_or_create(id="acct_benchmark", defaults={"livemode": False})
    WebhookEndpoint.objects.get_or_create(
        id="we_benchmark",
        defaults={
            "livemode": False,
            "djstripe_owner_account": account,
            "djstripe_uuid": sys.argv[1],
            "secret": os.environ["WEBHOOK_SECRET"],
            "enabled_events": ["*"],
            "status": "enabled",
            "url": "http://127.0.0.1/stripe",
        },
    )


if __name__ == "__main__":
    main()
