"""The launchers of utils/run.sh, slurm.sh and queue.sh: python3 utils/launch <one of these names> <words>.

They need Python 3.8, such as the system's on a login node, and no Python on the nodes.
"""

import signal
import sys


def main() -> int:
    """Run the jobs of a command line; 0 if all of them succeed."""
    if sys.version_info < (3, 8):  # noqa: UP036
        version = ".".join(map(str, sys.version_info[:3]))
        print(f"error: {sys.argv[1]}: Python 3.8 or newer is needed, this is {version}", file=sys.stderr)
        return 1
    from command_line import read_call
    from jobs import SIGNALS, Launch
    from schedulers import SCHEDULERS
    from schedulers.base import Refused
    from site_file import WrongCall

    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # handled between two polls
    program = sys.argv[1]
    try:
        call = read_call(program, sys.argv[2:])
        return Launch(call, SCHEDULERS[program](call)).run()
    except (WrongCall, Refused, OSError) as error:
        print(f"error: {program}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
