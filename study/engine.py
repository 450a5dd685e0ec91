"""How papermill executes the notebooks here: tables stand in the log, and the kernel is private."""

from typing import Any

import zmq
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from traitlets.config import Config

ENGINE = "lesions"


class _Client(PapermillNotebookClient):
    """Prints tables as text beside what the notebook prints, where papermill knows streams only."""

    def log_output_message(self, output: NotebookNode) -> None:
        super().log_output_message(output)
        forms = output.get("data", {})
        if self.stdout_file and "text/html" in forms and "text/plain" in forms:
            self.stdout_file.write(f"{forms['text/plain']}\n")
            self.stdout_file.flush()


class _Engine(NBClientEngine):
    """papermill's own, with that client."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        stdout_file: Any = None,
        stderr_file: Any = None,
        start_timeout: int = 60,
        **_: Any,
    ) -> None:
        # Else every log begins with the kernel's warning that its messages can be read by others.
        way = "auto" if zmq.has("curve") else "disabled"
        _Client(
            nb_man,
            kernel_name=kernel_name,
            startup_timeout=start_timeout,
            log_output=log_output,
            stdout_file=stdout_file,
            stderr_file=stderr_file,
            config=Config(KernelManager={"transport_encryption": way}),
        ).execute()


papermill_engines.register(ENGINE, _Engine)
