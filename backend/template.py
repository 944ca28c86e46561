"""A model loaded once, from which all of its workers are forked: N workers in the memory of one.

A template is forked from the nursery for a model with ``shareModel: true``. Its first order makes
it load the model, as a worker would; each order makes it fork a worker that begins with the
loaded model. Their weights are the same physical pages, as long as nobody writes to them.

It refuses when the model cannot be loaded here (the front end then starts an ordinary worker,
which fails in the ordinary way and says why), and when loading has started threads.
"""

from __future__ import annotations

import gc
import os
import socket
import traceback

from tsl.protocol.codec import FrameDecoder
from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import Fork, Load

from .__main__ import TOKEN_VARIABLE, enter_model_dir, main
from .fork_server import ForkServer, enter_environment, redirect_output
from .loader import ModelLoader
from .process import die_with_parent, return_free_memory, set_title, set_up_logging
from .worker import Preloaded


def run_template(control: socket.socket, share: str) -> int:
    """Be a template until the nursery closes the control socket.

    Args:
        control: socket to the nursery.
        share: which model this is for, for the process's title.

    Returns:
        Exit code of the process.
    """
    die_with_parent()
    set_title(f"tsl-template: {share}")
    return Template(control).run()


class Template(ForkServer):
    """The fork server of one model."""

    def __init__(self, control: socket.socket) -> None:
        super().__init__(control)
        self._model: Preloaded | None = None
        self._failure = ""

    def _prepare(self, order: Fork, out: int, err: int) -> str:
        """Load the model, once."""
        if self._model is None and not self._failure:
            # What loading prints belongs to the log of the worker it is done for.
            redirect_output(os.dup(out), os.dup(err))
            enter_environment(order)
            os.environ.pop(TOKEN_VARIABLE, None)
            set_up_logging()
            try:
                self._model = _load(order.load)
            except BaseException as error:  # the boundary to user code; even sys.exit
                traceback.print_exc()
                self._failure = f"the model cannot be loaded for sharing: {error!r}"
            gc.collect()
            gc.freeze()
            return_free_memory()
        return self._failure

    def _work(self, order: Fork) -> int:
        return main(order.argv, self._model)


def _load(encoded: bytes) -> Preloaded:
    frames = FrameDecoder().feed(encoded)
    if len(frames) != 1 or not isinstance(frames[0], Load):
        raise ProtocolError("a Fork frame to share with something else than a Load frame")
    load = frames[0]
    enter_model_dir(load.model_dir, load.handler)
    preloaded = Preloaded(load, [])
    preloaded.service = ModelLoader.load(load, preloaded.records.append)
    return preloaded
