"""A deploy gone wrong: the port is hard-wired (here: any but the one in PORT)."""

import http.server

server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
