import waitress

from service import application

# By default waitress removes X-Forwarded-For and similar headers. Then nothing
# shows that a request was proxied.
waitress.serve(application, listen='127.0.0.1:8774', threads=4,
               clear_untrusted_proxy_headers=False)
