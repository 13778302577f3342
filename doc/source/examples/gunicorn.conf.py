bind = '127.0.0.1:8774'
workers = 2
