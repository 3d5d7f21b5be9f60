"""The database, step by step (Alembic). `migrations.upgrade` runs them; nothing else needs to know Alembic.

Each step must work with the code of the release before it, so that workers can be replaced one by one.
"""
