"""A private mail relay on loopback: the real servers and waybill's daemons, for the demo and for the scenarios.

One module a server. A Stack (stack.py) holds what a whole installation shares: DNS, Redis, PostgreSQL, the mail sink,
the webhook receiver; a Node (node.py) is one relay host: Dovecot, Postfix, and waybill's daemons. Everything lives
below one folder, listens on loopback or on unix sockets, writes its log to log/, and is ended by its pid.
"""
