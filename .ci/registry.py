"""A registry for cargo on this machine, for `.ci/publish --try`: a folder behind HTTP.

    python3 .ci/registry.py FOLDER    # prints its address, and serves until it is killed

It begins empty. What is published is there at once, and it asks for no password.
"""

import hashlib
import json
import pathlib
import struct
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FOLDER = pathlib.Path(sys.argv[1])


def line(sent, crate):
    """The line of the index for what `cargo publish` has sent."""
    deps = []
    for dep in sent["deps"]:
        renamed = dep.get("explicit_name_in_toml")
        deps.append(
            {
                "name": renamed or dep["name"],
                "package": dep["name"] if renamed else None,
                "req": dep["version_req"],
                # What names no registry is of this one.
                "registry": dep.get("registry") or None,
                **{key: dep[key] for key in ("features", "optional", "default_features", "target", "kind")},
            }
        )
    return {
        "name": sent["name"],
        "vers": sent["vers"],
        "deps": deps,
        "cksum": hashlib.sha256(crate).hexdigest(),
        "features": {},
        "features2": sent["features"],
        "v": 2,
        "yanked": False,
        "links": sent.get("links"),
        "rust_version": sent.get("rust_version"),
    }


class Registry(BaseHTTPRequestHandler):
    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        name = self.path.strip("/").split("/")
        if self.path == "/config.json":
            self.answer(200, json.dumps({"dl": ADDRESS + "dl", "api": ADDRESS.rstrip("/")}).encode())
            return
        # dl/NAME/VERSION/download, or an entry of the index, whose last part is the name.
        wanted = FOLDER / (f"{name[1]}-{name[2]}.crate" if name[0] == "dl" else f"{name[-1]}.index")
        if wanted.is_file():
            self.answer(200, wanted.read_bytes())
        else:
            self.answer(404)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        (size,) = struct.unpack_from("<I", body)
        sent = json.loads(body[4 : 4 + size])
        (length,) = struct.unpack_from("<I", body, 4 + size)
        crate = body[8 + size : 8 + size + length]
        (FOLDER / f"{sent['name']}-{sent['vers']}.crate").write_bytes(crate)
        (FOLDER / f"{sent['name']}.index").write_text(json.dumps(line(sent, crate)) + "\n")
        self.answer(200, b"{}")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
ADDRESS = f"http://127.0.0.1:{server.server_port}/"
print(f"sparse+{ADDRESS}", flush=True)
server.serve_forever()
