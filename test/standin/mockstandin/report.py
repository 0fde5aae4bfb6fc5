"""What the stand-in says, where, and how a run ends: the logs, the phases, the error with its exit code."""
import contextlib
import logging

VERSION = "6.7+standin"
log = logging.getLogger("mockbuild")  # root.log, and standard error
state_log = logging.getLogger("mockbuild.Root.state")  # state.log, and standard error without a level
build_log = logging.getLogger("mockbuild.Root.build")  # build.log only


class Error(Exception):
    """Ends the run with mock's exit code."""

    def __init__(self, message, code=1):
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def state(name, finish=True):
    """A phase in state.log. Some phases of mock are not finished when they fail."""
    state_log.info("Start: %s", name)
    try:
        yield
    except BaseException:
        if finish:
            state_log.info("Finish: %s", name)
        raise
    state_log.info("Finish: %s", name)
