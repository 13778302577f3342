from cheroot import wsgi

from service import application

server = wsgi.Server(('127.0.0.1', 8774), application, numthreads=4)
try:
    server.start()
except KeyboardInterrupt:
    server.stop()
