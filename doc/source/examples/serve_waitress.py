import waitress

from service import application

# Otherwise waitress takes away X-Forwarded-For and its kind, and nobody can
# tell who was proxied.
waitress.serve(application, listen='127.0.0.1:8774', threads=4,
               clear_untrusted_proxy_headers=False)
