from healthcheck.serving import gunicorn_hooks

bind = '127.0.0.1:8774'
workers = 2
# Readiness goes red before the workers stop; see drain_delay.
when_ready = gunicorn_hooks.when_ready
