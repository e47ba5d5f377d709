"""A Hub on this machine that takes uploads: what `huggingface_hub` asks of the real one."""

import base64
import json
from typing import Any
from urllib.parse import unquote, urlparse

from hub_server import SHA, Hub

TOKEN = "hf_right"
READER = "hf_reader"  # may not write


class Uploads(Hub):
    """The model `some/one`: a folder. Large files come through LFS, the others with the commit."""

    def take(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        place = unquote(urlparse(self.path).path)
        self.asked.append(f"{self.command} {place}")
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        if token != TOKEN and self.command == "POST":
            refused = {TOKEN: 200, READER: 403}.get(token, 401)
            self.answer({"error": "Invalid username or password."}, refused)
        elif place == "/api/repos/create":
            self.answer({"url": f"{self.address}/some/one", "id": "1", "name": "some/one"})
        elif place == "/api/validate-yaml":
            self.answer({"warnings": [], "errors": []})
        elif place == "/api/models/some/one/preupload/main":
            self.answer({"files": [self.mode(file) for file in json.loads(body)["files"]]})
        elif place == "/some/one.git/info/lfs/objects/batch":
            self.answer(
                {"transfer": "basic", "objects": [*map(self.action, json.loads(body)["objects"])]}
            )
        elif self.command == "PUT":
            (self.root / place.removeprefix("/lfs/")).write_bytes(body)
            self.answer({})
        elif place == "/api/models/some/one/commit/main":
            for line in body.splitlines():
                self.commit(**json.loads(line))
            self.answer({"commitUrl": f"{self.address}/some/one/commit/{SHA}", "commitOid": SHA})
        else:
            self.answer({}, 404, **{"X-Error-Code": "RepoNotFound"})

    do_POST = do_PUT = take

    def give(self) -> None:
        place = unquote(urlparse(self.path).path)
        self.asked.append(f"{self.command} {place}")
        files = [{"rfilename": file.name} for file in sorted(self.root.iterdir())]
        match place.split("/", 5)[1:]:
            case ["api", "models", "some", "one", *_] if "tree" not in place:
                self.answer({"id": "some/one", "sha": SHA, "siblings": files, "private": False})
            case ["api", "models", "some", "one", _]:
                self.answer([self.entry(file) for file in sorted(self.root.iterdir())])
            case ["some", "one", "resolve", _, name]:
                self.send_file(self.root / name)
            case _:
                self.answer({}, 404, **{"X-Error-Code": "RepoNotFound"})

    do_GET = do_HEAD = give

    @property
    def address(self) -> str:
        return f"http://{self.headers['host']}"

    def mode(self, file: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if file["path"].endswith((".onnx", ".safetensors")) else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    def action(self, wanted: dict[str, Any]) -> dict[str, Any]:
        href = f"{self.address}/lfs/{wanted['oid']}"
        return {**wanted, "actions": {"upload": {"href": href}}}

    def commit(self, key: str, value: dict[str, Any]) -> None:
        if key == "file":
            (self.root / value["path"]).write_bytes(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            (self.root / value["oid"]).rename(self.root / value["path"])
