"""What is said to the user: on standard output, or to the logger "fastnn" where interactive logging is off."""
import logging
import sys

from ..config import is_interactive_logging_enabled

_LEVELS = ("FATAL", "ERROR", "WARNING", "INFO", "DEBUG")


def set_logging_verbosity(level):
    """Choose what the logger "fastnn" lets through: "FATAL" (least), "ERROR", "WARNING", "INFO" or "DEBUG".

    Raises:
        ValueError: another word.
    """
    if level not in _LEVELS:
        raise ValueError(f"[set_logging_verbosity] level must be one of {_LEVELS}. Received: level={level!r}")
    logging.getLogger("fastnn").setLevel(getattr(logging, level))


def print_msg(message, line_break=True):
    """Print a message, or log it where interactive logging is off."""
    message = str(message)
    if not is_interactive_logging_enabled():
        logging.getLogger("fastnn").info(message)
        return
    message = message + "\n" if line_break else message
    try:
        sys.stdout.write(message)
    except UnicodeEncodeError:  # an output that cannot show all letters
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(message.replace("━", "=").encode(encoding, errors="ignore").decode(encoding))
    sys.stdout.flush()


def ask_to_proceed_with_overwrite(filepath):
    """Ask the user whether a file may be overwritten; whether the answer was yes."""
    answer = input(f"[WARNING] {filepath} already exists - overwrite? [y/n]").strip().lower()
    while answer not in ("y", "n"):
        answer = input('Enter "y" (overwrite) or "n" (cancel).').strip().lower()
    if answer == "y":
        print_msg("[TIP] Next time specify overwrite=True!")
    return answer == "y"
