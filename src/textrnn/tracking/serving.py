"""`textrnn serve`: finds the champion, and becomes the process that serves it (`textrnn.tracking.scoring`)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NoReturn

from textrnn.config.params import Params
from textrnn.process import cores
from textrnn.tracking.registry import CHAMPION, download, need_champion
from textrnn.tracking.scoring import command
from textrnn.tracking.ui import check_free


def serve(project: Path, params: Params, port: int) -> NoReturn:
    """Becomes the server of the champion, `http://127.0.0.1:PORT/invocations`.

    Raises:
        TextrnnError: there is no champion, or the port is in use.
    """
    check_free(port, "serve")
    client, champion = need_champion(project, params)
    uri = f"models:/{champion.name}@{CHAMPION}"
    if "%" in client.get_model_version_download_uri(champion.name, champion.version):
        # MLflow decodes the path of a model in place; this copy stays in the folder for temporary files.
        uri = str(download(client, champion, Path(tempfile.mkdtemp(prefix="textrnn-champion-"))).parents[1])
    os.environ["MLFLOW_TRACKING_URI"] = client.tracking_uri
    server = command(uri, port, cores(), params.serving.model_dump_json())
    os.execv(server[0], server)
